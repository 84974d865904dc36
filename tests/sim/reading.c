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

static struct reading *reading_begin(struct fake_source *s, bool is_poll)
{
    free(s->reading.rows);
    s->reading = (struct reading){.open = true, .is_poll = is_poll, .complete = true};
    return &s->reading;
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
    struct reading *r = reading_begin(s, true);
    struct snapshot base;
    struct snapshot now;
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

void reading_page(struct fake_source *s, const struct control *at,
                  const struct reading_limits *limits)
{
    struct reading *r = reading_begin(s, false);
    struct snapshot base;
    struct snapshot target;
    parse(s, at->base, &base);
    parse(s, at->target, &target);
    size_t count = database_rows(s->db, &base, &target, at->last_id, &r->rows);
    for (size_t i = 0; i < count && r->count < limits->max_rows; i++) {
        const struct row *row = &s->db->rows[r->rows[i]];
        if (!limits->many_new || !is_new(row, &base) || row->id > limits->new_from)
            r->rows[r->count++] = r->rows[i];
    }
    world_say(s->world, "relay %u: page %s / %s / %lld -> %u of %zu rows", s->instance, at->base,
              at->target, (long long)at->last_id, r->count, count);
}

bool reading_probe(struct fake_source *s, const struct control *at, uint32_t few_rows,
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

static enum row_verdict offer(struct fake_source *s, const struct row *row)
{
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
    if (f->poison && row->fact % 3 == 0 && !s->rows_corrected)
        e.oversize_bytes = 1000000000;
    for (unsigned i = 0; i < 4; i++)
        e.event_id[15 - i] = (uint8_t)(row->fact >> (8 * i));
    s->world->sights[SIGHT_UNSENDABLE] += e.oversize_bytes > 0;
    enum row_verdict verdict = relay_on_row(s->relay, MAIN_STREAM, &e);
    world_say(s->world, "relay %u: row %lld (event %u, key %u, version %u) %s", s->instance,
              (long long)row->id, row->fact, f->key, f->version,
              verdict == ROW_HOLD ? "held" : "taken");
    return verdict;
}

static void end(struct fake_source *s, bool dropped)
{
    s->reading.open = false;
    s->read_busy = false;
    struct fetched f = {.rows = s->reading.count, .dropped = dropped};
    if (s->plan->defect == DEFECT_UNTOLD_DROP)
        f = (struct fetched){.rows = s->reading.next};
    relay_on_fetched(s->relay, MAIN_STREAM, &f);
}

void reading_deliver(void *self, void *arg)
{
    struct fake_source *s = self;
    struct reading *r = &s->reading;
    (void)arg;
    uint64_t connection = s->connection;
    if (r->is_poll && r->next == 0 && !r->held)
        relay_on_batch(s->relay, slice_of(r->snapshot), r->complete);
    r->held = false;
    while (s->connection == connection && r->next < r->count) {
        if (offer(s, &s->db->rows[r->rows[r->next]]) == ROW_HOLD) {
            r->held = true;
            s->world->sights[SIGHT_HELD]++;
            return;
        }
        r->next++;
        if (r->next < r->count && world_chance(s->world, 50)) {
            world_at(s->world, s->world->now_us + world_delay(s->world, 300), &s->scope,
                     reading_deliver, s, NULL);
            return;
        }
    }
    if (s->connection == connection)
        end(s, false);
}

static void drop(void *self, void *arg)
{
    (void)arg;
    end(self, true);
}

void reading_resume(struct fake_source *s, bool dropping)
{
    if (!s->reading.open)
        return;
    if (!s->reading.held) {
        world_fail(s->world, "relay %u: resume or drop_rest, but no row is held", s->instance);
        return;
    }
    world_at(s->world, s->world->now_us + world_delay(s->world, 50), &s->scope,
             dropping ? drop : reading_deliver, s, NULL);
}
