/* Two sorted streams, rows and records, are merged by event id. What an id has on both sides is
 * judged at once, and gives the first occurrences in each partition, which are sorted again by
 * partition, key and offset: then their rows' ids must ascend. */
#include "verify/judge.h"

#include "base/str.h"
#include "verify/sorter.h"

#include <stdlib.h>
#include <string.h>

#define US_PER_DAY INT64_C(86400000000)

/* A row, and what the records of its event id say about it. The first row of a topic counts for all
 * that share id and topic. */
struct claim {
    struct row_entry row;
    int64_t rows;    /* of this id and topic: so many records are no duplicates */
    int64_t settled; /* of them: so many records must be there */
    int64_t found;   /* records that are no replays */
    bool replayed;
    int32_t last_partition; /* of the record before; -1: none */
};

struct judge {
    struct judge_params params;
    struct sorter *rows;
    struct sorter *records;
    struct sorter *order;
    const struct coverage *coverage;
    struct judge_totals totals;

    int32_t *days; /* ascending */
    bool *days_left;
    size_t day_count;

    struct record_entry record; /* the next one of the merge */
    bool has_record;
    struct row_entry row; /* the next one of the merge */
    bool has_row;

    struct claim *group; /* the rows of the present event id */
    size_t group_count;
    size_t group_cap;
};

const char *judged_word(enum judged kind)
{
    static const char *const words[] = {
#define X(name, word) [JUDGED_##name] = (word),
        FINDING_KINDS(X)
#undef X
    };

    return words[kind];
}

static struct sorter *new_sorter(const struct judge_params *p, size_t entry_bytes)
{
    return sorter_new(&(struct sorter_params){
        .entry_bytes = entry_bytes, .memory_bytes = p->memory_bytes / 3, .folder = p->folder});
}

struct judge *judge_new(const struct judge_params *params)
{
    struct judge *j = xcalloc(1, sizeof *j);

    j->params = *params;
    j->rows = new_sorter(params, ROW_ENTRY_BYTES);
    j->records = new_sorter(params, RECORD_ENTRY_BYTES);
    j->order = new_sorter(params, ORDER_ENTRY_BYTES);
    return j;
}

void judge_free(struct judge *j)
{
    if (j == NULL)
        return;
    sorter_free(j->rows);
    sorter_free(j->records);
    sorter_free(j->order);
    free(j->days);
    free(j->days_left);
    free(j->group);
    free(j);
}

/* ---- days ------------------------------------------------------------------------------------ */

static int32_t day_of(int64_t us)
{
    int64_t day = us / US_PER_DAY - (us % US_PER_DAY < 0);

    return (int32_t)day; /* the ends of int64_t are 10^8 days away */
}

/* Where the day stands, or would. */
static size_t find_day(const struct judge *j, int32_t day)
{
    size_t low = 0;
    size_t high = j->day_count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (j->days[middle] < day)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void remember_day(struct judge *j, int32_t day)
{
    size_t at = find_day(j, day);

    if (at < j->day_count && j->days[at] == day)
        return;
    j->days = xrealloc(j->days, (j->day_count + 1) * sizeof j->days[0]);
    memmove(j->days + at + 1, j->days + at, (j->day_count - at) * sizeof j->days[0]);
    j->days[at] = day;
    j->day_count++;
}

size_t judge_days(const struct judge *j, const int32_t **days)
{
    *days = j->days;
    return j->day_count;
}

void judge_days_left(struct judge *j, const bool *left)
{
    j->days_left = xcalloc(j->day_count, sizeof j->days_left[0]);
    if (j->day_count > 0)
        memcpy(j->days_left, left, j->day_count * sizeof j->days_left[0]);
}

static bool day_is_left(const struct judge *j, int32_t day)
{
    size_t at = find_day(j, day);

    return at < j->day_count && j->days[at] == day && j->days_left != NULL && j->days_left[at];
}

/* ---- what comes in --------------------------------------------------------------------------- */

int judge_row(struct judge *j, const struct row_entry *row, struct err *err)
{
    unsigned char entry[ROW_ENTRY_BYTES];

    remember_day(j, day_of(row->created_us));
    row_entry_put(entry, row);
    return sorter_put(j->rows, entry, err);
}

int judge_record(struct judge *j, const struct record_entry *record, struct err *err)
{
    unsigned char entry[RECORD_ENTRY_BYTES];

    record_entry_put(entry, record);
    return sorter_put(j->records, entry, err);
}

static int next_row(struct judge *j, struct err *err)
{
    const unsigned char *entry;
    int rc = sorter_next(j->rows, &entry, err);

    j->has_row = rc == 1;
    if (rc == 1)
        row_entry_get(entry, &j->row);
    return rc < 0 ? -1 : 0;
}

static int next_record(struct judge *j, struct err *err)
{
    const unsigned char *entry;
    int rc = sorter_next(j->records, &entry, err);

    j->has_record = rc == 1;
    if (rc == 1)
        record_entry_get(entry, &j->record);
    return rc < 0 ? -1 : 0;
}

/* ---- one event id ---------------------------------------------------------------------------- */

static void tell(struct judge *j, const struct judged_event *e)
{
    j->totals.found[e->kind]++;
    j->params.found(j->params.ctx, e);
}

static void tell_record(struct judge *j, enum judged kind, int64_t row_id)
{
    const struct record_entry *r = &j->record;
    struct judged_event e = {.kind = kind,
                             .row_id = row_id,
                             .topic = r->topic,
                             .type = r->type,
                             .partition = r->partition,
                             .offset = r->offset};

    memcpy(e.event_id, r->event_id, sizeof e.event_id);
    tell(j, &e);
}

static void tell_lost(struct judge *j, const struct row_entry *row)
{
    struct judged_event e = {.kind = JUDGED_LOST,
                             .row_id = row->id,
                             .topic = row->topic,
                             .type = row->type,
                             .partition = -1,
                             .offset = -1};

    memcpy(e.event_id, row->event_id, sizeof e.event_id);
    tell(j, &e);
}

static void count_row(struct judge *j, const struct row_entry *row)
{
    j->totals.rows++;
    j->totals.settled += row->state == ROW_SETTLED;
    j->totals.given_up += row->state == ROW_GIVEN_UP;
    if (row->topic == ENTRY_NO_TOPIC)
        j->totals.no_topic++;
    else if (!coverage_is_read(j->coverage, row->topic))
        j->totals.other++;
}

static void add_to_group(struct judge *j, const struct row_entry *row)
{
    if (j->group_count == j->group_cap) {
        j->group_cap = j->group_cap == 0 ? 16 : j->group_cap * 2;
        j->group = xrealloc(j->group, j->group_cap * sizeof j->group[0]);
    }
    j->group[j->group_count++] = (struct claim){.row = *row, .last_partition = -1};
    count_row(j, row);
}

/* The first row of the group with this topic; group_count: there is none. */
static size_t first_of(const struct judge *j, uint16_t topic)
{
    size_t i = 0;

    while (i < j->group_count && j->group[i].row.topic != topic)
        i++;
    return i;
}

/* Takes the rows of one event id off the stream. A row that came twice follows itself. */
static int take_group(struct judge *j, const uint8_t event_id[16], struct err *err)
{
    j->group_count = 0;
    while (j->has_row && memcmp(j->row.event_id, event_id, 16) == 0) {
        if (j->group_count == 0 || j->group[j->group_count - 1].row.id != j->row.id)
            add_to_group(j, &j->row);
        if (next_row(j, err) != 0)
            return -1;
    }
    if (j->group_count > 1)
        j->totals.shared_id += (int64_t)j->group_count;
    for (size_t i = 0; i < j->group_count; i++) {
        struct claim *first = &j->group[first_of(j, j->group[i].row.topic)];

        first->rows++;
        first->settled += j->group[i].row.state == ROW_SETTLED;
    }
    return 0;
}

static void judge_stranger(struct judge *j)
{
    if (!j->params.ghosts)
        j->totals.strangers++;
    else if (day_is_left(j, day_of(j->record.event_us)))
        tell_record(j, JUDGED_GHOST, 0);
    else
        j->totals.row_retired++;
}

/* The records of a partition come by offset, so its first one is the first occurrence there. */
static int note_first(struct judge *j, const struct row_entry *row, struct err *err)
{
    const struct record_entry *r = &j->record;
    struct order_entry o = {.topic = r->topic,
                            .partition = r->partition,
                            .key = row->key,
                            .offset = r->offset,
                            .id = row->id,
                            .type = row->type};
    unsigned char entry[ORDER_ENTRY_BYTES];

    if (!coverage_is_first(j->coverage, r->topic, r->partition, row->created_us)) {
        j->totals.order_unknown++;
        return 0;
    }
    memcpy(o.event_id, r->event_id, sizeof o.event_id);
    order_entry_put(entry, &o);
    return sorter_put(j->order, entry, err);
}

static int judge_known(struct judge *j, struct err *err)
{
    const struct record_entry *r = &j->record;
    size_t at = first_of(j, r->topic);
    struct claim *c;
    bool first;

    j->totals.replayed += r->replayed;
    if (at == j->group_count) {
        j->totals.elsewhere += !r->replayed;
        return 0;
    }
    c = &j->group[at];
    if (r->replayed) {
        c->replayed = true;
        return 0;
    }
    first = c->last_partition != r->partition;
    c->last_partition = r->partition;
    if (++c->found > c->rows)
        tell_record(j, JUDGED_DUPLICATE, c->row.id);
    return first && j->group_count == 1 ? note_first(j, &c->row, err) : 0;
}

static int take_records(struct judge *j, const uint8_t event_id[16], struct err *err)
{
    while (j->has_record && memcmp(j->record.event_id, event_id, 16) == 0) {
        int64_t at = j->record.event_us;

        j->totals.records++;
        if (j->group_count > 0) {
            if (judge_known(j, err) != 0)
                return -1;
        } else if (at < j->params.since_us || at >= j->params.until_us) {
            j->totals.outside++;
        } else {
            j->totals.replayed += j->record.replayed;
            judge_stranger(j);
        }
        if (next_record(j, err) != 0)
            return -1;
    }
    return 0;
}

/* Rows that share id and topic cannot be told apart in it: as many of the settled ones as have no
 * record are lost, the later ones first. */
static void judge_group(struct judge *j)
{
    for (size_t i = j->group_count; i-- > 0;) {
        const struct row_entry *row = &j->group[i].row;
        struct claim *first = &j->group[first_of(j, row->topic)];

        if (row->state != ROW_SETTLED || !coverage_is_read(j->coverage, row->topic) ||
            first->found >= first->settled)
            continue;
        first->settled--;
        if (first->replayed)
            j->totals.by_replay_only++;
        else if (coverage_is_complete_for(j->coverage, row))
            tell_lost(j, row);
        else
            j->totals.perhaps_removed++;
    }
}

static int judge_ids(struct judge *j, struct err *err)
{
    uint8_t id[16];

    if (next_row(j, err) != 0 || next_record(j, err) != 0)
        return -1;
    while (j->has_row || j->has_record) {
        bool row_first =
            j->has_row && (!j->has_record || memcmp(j->row.event_id, j->record.event_id, 16) <= 0);

        memcpy(id, row_first ? j->row.event_id : j->record.event_id, sizeof id);
        if (take_group(j, id, err) != 0 || take_records(j, id, err) != 0)
            return -1;
        judge_group(j);
    }
    return 0;
}

/* ---- the order of first occurrences ---------------------------------------------------------- */

static bool is_same_stream(const struct order_entry *a, const struct order_entry *b)
{
    return a->topic == b->topic && a->partition == b->partition && a->key.hash == b->key.hash &&
           a->key.murmur == b->key.murmur;
}

static void tell_inverted(struct judge *j, const struct order_entry *o, int64_t behind_id)
{
    struct judged_event e = {.kind = JUDGED_INVERTED,
                             .row_id = o->id,
                             .topic = o->topic,
                             .type = o->type,
                             .partition = o->partition,
                             .offset = o->offset,
                             .behind_id = behind_id};

    memcpy(e.event_id, o->event_id, sizeof e.event_id);
    tell(j, &e);
}

static int judge_order(struct judge *j, struct err *err)
{
    struct order_entry last = {0}; /* its id: the largest of its stream so far */
    const unsigned char *entry;
    bool any = false;
    int rc;

    while ((rc = sorter_next(j->order, &entry, err)) == 1) {
        struct order_entry o;

        order_entry_get(entry, &o);
        if (any && is_same_stream(&last, &o) && o.id < last.id)
            tell_inverted(j, &o, last.id);
        else
            last = o;
        any = true;
    }
    return rc;
}

int judge_run(struct judge *j, const struct coverage *coverage, struct judge_totals *totals,
              struct err *err)
{
    int rc = -1;

    j->coverage = coverage;
    if (sorter_finish(j->rows, err) == 0 && sorter_finish(j->records, err) == 0 &&
        judge_ids(j, err) == 0 && sorter_finish(j->order, err) == 0)
        rc = judge_order(j, err);
    *totals = j->totals;
    return rc;
}
