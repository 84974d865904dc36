/* The text of `outboxd status`: a label in front, then lines that are broken at blanks. What has no
 * blanks (a statement, a topic's name) is never broken, so that it can be copied. */
#include "app/status_print.h"

#include "base/problem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define COLUMNS 80U
#define INDENT  15U

/* "850 ms", "12.3 s", "4 min 10 s", "3 h 5 min", "2 d 4 h" */
static const char *age_text(double seconds, char *out, size_t size)
{
    long long s = (long long)seconds;

    if (seconds < 1)
        (void)snprintf(out, size, "%.0f ms", seconds * 1000);
    else if (s < 60)
        (void)snprintf(out, size, "%.1f s", seconds);
    else if (s < 3600)
        (void)snprintf(out, size, "%lld min %lld s", s / 60, s % 60);
    else if (s < 86400)
        (void)snprintf(out, size, "%lld h %lld min", s / 3600, s % 3600 / 60);
    else
        (void)snprintf(out, size, "%lld d %lld h", s / 86400, s % 86400 / 3600);
    return out;
}

/* The bytes of the next line: up to the last blank that fits, or to the first one behind. */
static size_t line_length(const char *text, size_t room)
{
    size_t fits = 0;
    size_t columns = 0;

    for (size_t i = 0; text[i] != '\0'; i++) {
        if (text[i] == ' ' && (columns <= room || fits == 0))
            fits = i;
        columns += ((unsigned char)text[i] & 0xc0) != 0x80; /* of UTF-8 */
        if (columns > room && fits > 0)
            return fits;
    }
    return columns <= room || fits == 0 ? strlen(text) : fits;
}

static void put(const char *label, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void put(const char *label, const char *fmt, ...)
{
    struct str text = {0};
    const char *at;
    va_list ap;

    va_start(ap, fmt);
    str_vprintf(&text, fmt, ap);
    va_end(ap);
    for (char *c = text.data; c != NULL && *c != '\0'; c++)
        if ((unsigned char)*c < ' ')
            *c = ' ';
    at = str_text(&text);
    do {
        size_t len = line_length(at, COLUMNS - INDENT);

        (void)printf("  %-12s %.*s\n", label, (int)len, at);
        label = "";
        at += len;
        at += strspn(at, " ");
    } while (*at != '\0');
    str_release(&text);
}

/* Snapshots can hold hundreds of transactions: their number is enough for the eye. */
static void put_snapshot(struct str *out, const struct str *snapshot)
{
    const char *text = str_text(snapshot);
    const char *open = strrchr(text, ':');
    int count = 0;

    if (open == NULL || open[1] == '\0') {
        str_puts(out, text);
        return;
    }
    for (const char *c = open; *c != '\0'; c++)
        count += *c == ':' || *c == ',';
    if (count <= 3)
        str_puts(out, text);
    else
        str_printf(out, "%.*s (%d open)", (int)(open - text), text, count);
}

static void put_lease(const struct admin_status *st)
{
    char age[48];

    if (st->holder[0] == '\0')
        put("leader", "nobody (epoch %lld%s%s)", (long long)st->epoch,
            st->instance.len > 0 ? ", last: " : "", str_text(&st->instance));
    else
        put("leader", "%s, epoch %lld, renewed %s ago (ttl %d s)%s", str_text(&st->instance),
            (long long)st->epoch, age_text(st->renewed_s, age, sizeof age), st->ttl_ms / 1000,
            st->leading ? "" : ", EXPIRED");
    if (st->paused_s >= 0)
        put("paused", "by %s, %s ago%s%s", str_text(&st->paused_by),
            age_text(st->paused_s, age, sizeof age), st->pause_reason.len > 0 ? ": " : "",
            str_text(&st->pause_reason));
}

static void put_events(const struct admin_status *st)
{
    struct str where = {0};
    char age[48];

    if (st->rate >= 0)
        put("rate", "%.0f events/s, %lld published in all", st->rate, (long long)st->published);
    if (st->unsent_events > 0 && st->oldest_unsent_s >= 0)
        put("unsent", "%s%lld events, the oldest %s old", st->unsent_estimated ? "about " : "",
            (long long)st->unsent_events, age_text(st->oldest_unsent_s, age, sizeof age));
    else
        put("unsent", "%s%lld events", st->unsent_estimated ? "about " : "",
            (long long)st->unsent_events);
    str_puts(&where, "base ");
    put_snapshot(&where, &st->position.base);
    if (st->position.target.len > 0) {
        str_puts(&where, ", target ");
        put_snapshot(&where, &st->position.target);
        str_printf(&where, ", last id %lld", (long long)st->position.last_id);
    }
    put("position", "%s; stored %s ago", where.data, age_text(st->stored_s, age, sizeof age));
    str_release(&where);
}

/* What belongs to the trouble that the leader has told. */
static void put_trouble(const struct admin_status *st)
{
    const struct trouble *t = &st->trouble;
    char age[48];

    if (t->topic[0] != '\0')
        put("topic", "%s", t->topic);
    if (t->event_id[0] != '\0')
        put("event", "%s (id %lld)", t->event_id, (long long)t->row_id);
    if (t->attempts > 0)
        put("attempts", "%u", t->attempts);
    if (t->next_try_ms > 0)
        put("next try", "in %s", age_text((double)t->next_try_ms / 1000, age, sizeof age));
}

static void put_problems(const struct status *s)
{
    char age[48];

    for (size_t i = 0; i < s->problem_count; i++) {
        const struct status_problem *p = &s->problems[i];
        bool told = strcmp(problem_word(p->problem), s->relay.trouble.cause) == 0;

        if (told)
            put("problem", "%s, for %s", problem_word(p->problem),
                age_text(s->relay.trouble_s, age, sizeof age));
        else
            put("problem", "%s", problem_word(p->problem));
        put("", "%s", problem_what(p->problem));
        if (p->text[0] != '\0')
            put("", "%s", p->text);
        if (told)
            put_trouble(&s->relay);
        put("what to do", "%s", problem_advice(p->problem));
    }
}

static void put_transactions(const struct admin_status *st)
{
    char age[48];

    for (size_t i = 0; i < st->transaction_count; i++) {
        const struct admin_transaction *t = &st->transactions[i];

        put("transaction", "open for %s%s: %s", age_text(t->age_s, age, sizeof age),
            t->locks_event ? ", uses outbox.event" : "", t->name);
        put("", "%s", t->way_out);
    }
    if (!st->sees_transactions)
        put("transactions", "of other roles cannot be seen: GRANT pg_read_all_stats");
}

static void put_tables(const struct status *s)
{
    const struct overdue *o = &s->overdue;

    put("schema", "version %d, doorbell %s%s", s->relay.schema_version,
        s->relay.bells > 0 ? "installed" : "absent",
        o->supported ? "" : ", no retention (`outboxd migrate`)");
    for (size_t i = 0; i < o->listed; i++)
        put(i == 0 ? "overdue" : "", "%s (%.1f MB): %s", o->days[i].partition,
            (double)o->days[i].bytes / 1e6, o->days[i].reason);
    if (o->count > o->listed)
        put("", "and %zu more", o->count - o->listed);
}

static void put_kind(struct str *out, unsigned count, const char *one)
{
    if (count > 0)
        str_printf(out, "%s%u %s%s", out->len == 0 ? "" : ", ", count, one, count == 1 ? "" : "s");
}

static void put_lanes(const struct admin_lanes *lanes)
{
    unsigned by[LANE_BY_COUNT] = {0};
    unsigned flowing = 0;
    struct str kinds = {0};

    for (size_t i = 0; i < lanes->count; i++) {
        if (lanes->lane[i].flowing)
            flowing++;
        else
            by[lanes->lane[i].by]++;
    }
    put_kind(&kinds, by[LANE_BY_KEY], "key");
    put_kind(&kinds, by[LANE_BY_PARTITION], "partition");
    put_kind(&kinds, by[LANE_BY_TOPIC], "topic");
    if (kinds.len > 0 && flowing > 0)
        put("lanes", "wait: %s; %u catch up; see `outboxd parked list`", kinds.data, flowing);
    else if (kinds.len > 0)
        put("lanes", "wait: %s; see `outboxd parked list`", kinds.data);
    else if (flowing > 0)
        put("lanes", "%u catch up", flowing);
    str_release(&kinds);
}

void status_print(const struct status *s)
{
    (void)printf("relay %s: %s\n", s->name, s->verdict);
    put_lease(&s->relay);
    put_events(&s->relay);
    put_lanes(&s->lanes);
    put_problems(s);
    put_transactions(&s->relay);
    put_tables(s);
}
