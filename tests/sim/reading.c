#include "reading.h"

#include "writers.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void parse(struct fake_source *s, const char *text, struct snapshot *out)
{
    if (!snapshot_parse(out, text))
        world_fail(s->world, "relay %u: '%s' is no snapshot", s->instance, text);
}

static void reading_begin(struct reading *r, bool is_poll)
{
    free(r->rows);
    *r = (struct reading){.source = r->source,
                          .stream = r->stream,
                          .busy = r->busy,
                          .open = true,
                          .is_poll = is_poll,
                          .complete = true};
}

/* A defect: what every second outbox does. */
static size_t rows_by_id(struct fake_source *s, const struct snapshot *now, uint32_t **rows)
{
    static const struct snapshot nothing = {.xmin = 10, .xmax = 10};
    size_t count = database_rows(s->db, &nothing, now, s->greatest_id, rows);
    if (count > 0)
        s->greatest_id = s->db->rows[(*rows)[count - 1]].id;
    return count;
}

static void sort_by_xid(const struct database *db, uint32_t *rows, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        uint32_t row = rows[i];
        size_t at = i;
        for (; at > 0 && db->rows[rows[at - 1]].xid > db->rows[row].xid; at--)
            rows[at] = rows[at - 1];
        rows[at] = row;
    }
}

/* Who has nothing else to do sees a commit soon, by the bell and not by the fallback. */
static void judge_delay(struct fake_source *s, const uint32_t *rows, size_t count)
{
    const struct relay_params *p = &s->plan->params;
    uint64_t bound_us = MS(300) + (p->wakeup == WAKEUP_POLL ? MS(p->poll_max_ms) : 0);
    if (s->plan->scenario != SCENARIO_FAULTLESS || p->max_rate > 0)
        return;
    for (size_t i = 0; i < count; i++) {
        uint64_t since = s->db->oracle->facts[s->db->rows[rows[i]].fact].committed_us;
        if (since < s->idle_since_us)
            since = s->idle_since_us;
        if (s->world->now_us - since > bound_us)
            world_fail(s->world, "relay %u: a commit stayed unseen for %" PRIu64 " ms", s->instance,
                       (s->world->now_us - since) / 1000);
    }
}

void reading_poll(struct fake_source *s, const char *base_text, const struct reading_limits *limits)
{
    struct reading *r = &s->readings[0];
    struct snapshot base;
    struct snapshot now;
    reading_begin(r, true);
    parse(s, base_text, &base);
    database_snapshot(s->db, &now);
    if (s->plan->defect == DEFECT_READER_BELOW_XMIN) {
        now.xmax = now.xmin;
        now.count = 0;
    }
    size_t count;
    if (s->plan->defect == DEFECT_READER_BY_ID)
        count = rows_by_id(s, &now, &r->rows);
    else
        count = database_rows(s->db, &base, &now, 0, &r->rows);
    if (s->plan->defect == DEFECT_READER_BELOW_XMIN)
        sort_by_xid(s->db, r->rows, count);
    judge_delay(s, r->rows, count);
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += s->db->rows[r->rows[i]].payload_bytes;
    r->complete = count <= limits->max_rows && bytes <= limits->max_bytes;
    r->count = r->complete ? (uint32_t)count : 0;
    snapshot_print(&now, r->snapshot);
    if (count > 0)
        world_say(s->world, "relay %u: poll %s -> %zu rows, %s", s->instance, base_text, count,
                  r->snapshot);
}

static bool is_new(const struct row *row, const struct snapshot *base)
{
    return row->xid >= base->xmax;
}

/* Whether the row's message belongs to the lane. */
static bool covers(const struct fake_source *s, const struct lane_row *lane, const struct row *row)
{
    const struct fact *f = &s->db->oracle->facts[row->fact];
    char topic[TOPIC_TEXT];
    char key[KEY_TEXT];
    snprintf(topic, sizeof topic, "t%u-events", f->key % s->plan->topics);
    snprintf(key, sizeof key, "k%u", f->key);
    return lane_row_covers(lane, f->odd ? (struct slice){NULL, 0} : slice_of(topic), slice_of(key));
}

/* As the server does: looks at the first rows of the range, as many as it may, and lets go what the
 * lane does not cover; now and then not all of that. */
static void filter_page(struct reading *r, const struct snapshot *base, size_t count,
                        const struct reading_limits *limits)
{
    struct fake_source *s = r->source;
    struct world *w = s->world;
    uint32_t most = limits->scan_rows < s->plan->scan_rows ? limits->scan_rows : s->plan->scan_rows;
    uint32_t permille = world_chance(w, 300) ? 300 : 0;
    uint32_t looked = 0;
    r->filtered = true;
    r->read_to = r->from;
    for (; looked < count && looked < most && r->count < limits->max_rows; looked++) {
        const struct row *row = &s->db->rows[r->rows[looked]];
        bool is_old = limits->many_new && is_new(row, base) && row->id <= limits->new_from;
        bool blind = s->plan->defect == DEFECT_LANE_BLIND && world_chance(w, 50);
        r->read_to = row->id;
        if (!is_old && !blind && (covers(s, limits->filter, row) || world_chance(w, permille)))
            r->rows[r->count++] = r->rows[looked];
    }
    /* a page that is full by its last row need not know that it is */
    if (looked == count && (r->count < limits->max_rows || world_chance(w, 500)))
        r->read_to = INT64_MAX;
    else
        w->sights[SIGHT_LANE_PAGE_BOUND]++;
    if (s->plan->defect == DEFECT_READ_TO_TOO_FAR && r->read_to != INT64_MAX)
        r->read_to += 3;
}

void reading_page(struct reading *r, const struct place *at, const struct reading_limits *limits)
{
    struct fake_source *s = r->source;
    struct snapshot base;
    struct snapshot target;
    reading_begin(r, false);
    parse(s, at->base, &base);
    parse(s, at->target, &target);
    size_t count = database_rows(s->db, &base, &target, at->last_id, &r->rows);
    for (size_t i = 0; limits->filter == NULL && i < count && r->count < limits->max_rows; i++) {
        const struct row *row = &s->db->rows[r->rows[i]];
        if (!limits->many_new || !is_new(row, &base) || row->id > limits->new_from)
            r->rows[r->count++] = r->rows[i];
    }
    if (limits->filter != NULL) {
        r->from = at->last_id;
        filter_page(r, &base, count, limits);
    }
    world_say(s->world, "relay %u: stream %u: page %s / %s / %lld -> %u of %zu rows, to %lld",
              s->instance, r->stream, at->base, at->target, (long long)at->last_id, r->count, count,
              (long long)r->read_to);
}

bool reading_probe(struct fake_source *s, const struct place *at, uint32_t few_rows,
                   int64_t *min_new_id)
{
    struct snapshot base;
    struct snapshot target;
    parse(s, at->base, &base);
    parse(s, at->target, &target);
    uint32_t *rows;
    size_t count = database_rows(s->db, &base, &target, at->last_id, &rows);
    uint32_t new_rows = 0;
    *min_new_id = 0;
    for (size_t i = count; i-- > 0;) {
        if (is_new(&s->db->rows[rows[i]], &base)) {
            new_rows++;
            *min_new_id = s->db->rows[rows[i]].id;
        }
    }
    free(rows);
    s->world->sights[SIGHT_MANY_NEW] += new_rows > few_rows;
    return new_rows > few_rows;
}

/* ---- the rows, one by one ---- */

/* Rows of which no message can be made. */
static void make_poison(struct fake_source *s, uint32_t fact, struct event *e)
{
    const struct fact *f = &s->db->oracle->facts[fact];
    bool lasts = oracle_is_poison(s->db->oracle, fact) && !s->rows_corrected;
    if (f->odd) {
        e->topic = SLICE_LIT("no name");
    } else if (lasts && fact % 3 == 0) {
        if (s->plan->troubles > 0 && fact % 2 == 0)
            e->headers = SLICE_LIT("\"no object\"");
        else
            e->oversize_bytes = 1000000000;
    } else {
        return;
    }
    s->world->sights[SIGHT_UNSENDABLE]++;
}

static enum row_verdict offer(struct reading *r, const struct row *row)
{
    struct fake_source *s = r->source;
    const struct fact *f = &s->db->oracle->facts[row->fact];
    char key[16];
    char type[16];
    snprintf(key, sizeof key, "k%u", f->key);
    snprintf(type, sizeof type, "t%u", f->key % s->plan->topics);
    str_reset(&s->payload);
    str_printf(&s->payload, "{\"n\":%u,\"fill\":\"", row->fact);
    for (uint32_t i = 0; i < row->payload_bytes; i++)
        str_put_char(&s->payload, 'x');
    str_puts(&s->payload, "\"}");
    struct event e = {.id = row->id,
                      .aggregate_type = slice_of(type),
                      .aggregate_id = slice_of(key),
                      .event_type = SLICE_LIT("changed"),
                      .event_version = SLICE_LIT("1.0"),
                      .payload = str_slice(&s->payload)};
    make_poison(s, row->fact, &e);
    for (unsigned i = 0; i < 4; i++)
        e.event_id[15 - i] = (uint8_t)(row->fact >> (8 * i));
    enum row_verdict verdict = relay_on_row(s->relay, r->stream, &e);
    world_say(s->world, "relay %u: stream %u: row %lld (event %u, key %u, version %u) %s",
              s->instance, r->stream, (long long)row->id, row->fact, f->key, f->version,
              verdict == ROW_HOLD ? "held" : "taken");
    return verdict;
}

static void end(struct reading *r, bool dropped)
{
    struct fake_source *s = r->source;
    r->open = false;
    r->busy = false;
    struct fetched f = {.rows = r->count, .dropped = dropped};
    if (r->filtered && dropped)
        r->read_to = r->next > 0 ? s->db->rows[r->rows[r->next - 1]].id : r->from;
    if (r->filtered)
        f.read_to = r->read_to;
    if (s->plan->defect == DEFECT_UNTOLD_DROP) {
        f.rows = r->next;
        f.dropped = false;
    }
    relay_on_fetched(s->relay, r->stream, &f);
}

void reading_deliver(void *self, void *arg)
{
    struct reading *r = self;
    struct fake_source *s = r->source;
    (void)arg;
    uint64_t connection = s->connection;
    if (r->is_poll && r->next == 0 && !r->held)
        relay_on_batch(s->relay, slice_of(r->snapshot), r->complete);
    r->held = false;
    while (s->connection == connection && r->next < r->count) {
        if (offer(r, &s->db->rows[r->rows[r->next]]) == ROW_HOLD) {
            r->held = true;
            s->world->sights[SIGHT_HELD]++;
            return;
        }
        r->next++;
        if (r->next < r->count && world_chance(s->world, 50)) {
            world_at(s->world, s->world->now_us + world_delay(s->world, 300), &s->scope,
                     reading_deliver, r, NULL);
            return;
        }
    }
    if (s->connection == connection)
        end(r, false);
}

static void drop(void *self, void *arg)
{
    (void)arg;
    end(self, true);
}

void reading_resume(struct reading *r, bool dropping)
{
    struct fake_source *s = r->source;
    if (!r->open)
        return;
    if (!r->held) {
        world_fail(s->world, "relay %u: resume or drop_rest, but no row is held", s->instance);
        return;
    }
    world_at(s->world, s->world->now_us + world_delay(s->world, 50), &s->scope,
             dropping ? drop : reading_deliver, r, NULL);
}
