/* Texts come from servers and from the log: jansson takes only UTF-8, so what is not becomes "?". A
 * number that JSON cannot hold becomes null. */
#include "ops/report.h"

#include "ops/latency.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>

/* ---- members ---- */

/* An object that could not be made is NULL, and jansson refuses NULL: the member is left out. */
static void put(json_t *doc, const char *name, json_t *value)
{
    (void)json_object_set_new(doc, name, value);
}

static json_t *text_of(const char *text)
{
    json_t *value = json_string(text);
    char *clean;

    if (value != NULL)
        return value;
    clean = xstrdup(text);
    for (char *p = clean; *p != '\0'; p++)
        if ((unsigned char)*p >= 0x80)
            *p = '?';
    value = json_string(clean);
    free(clean);
    return value;
}

static void put_text(json_t *doc, const char *name, const char *text)
{
    put(doc, name, text_of(text));
}

static void put_count(json_t *doc, const char *name, uint64_t n)
{
    put(doc, name, json_integer((json_int_t)n));
}

static void put_number(json_t *doc, const char *name, double value)
{
    put(doc, name, isfinite(value) ? json_real(value) : json_null());
}

/* Below zero: there is none. */
static void put_age(json_t *doc, const char *name, double seconds)
{
    put(doc, name, seconds >= 0 && isfinite(seconds) ? json_real(seconds) : json_null());
}

/* -1: it could not be told. */
static void put_told(json_t *doc, const char *name, int64_t n)
{
    put(doc, name, n >= 0 ? json_integer((json_int_t)n) : json_null());
}

static void put_bool(json_t *doc, const char *name, bool value)
{
    put(doc, name, json_boolean(value));
}

static bool is_leader(const struct ops_view *v)
{
    return v->state == RELAY_LEADING || v->state == RELAY_DRAINING;
}

/* ---- parts ---- */

static void put_blame(json_t *doc, const struct ops_view *v)
{
    put_text(doc, "what", problem_what(v->problem));
    put_text(doc, "text", v->problem_text);
    put_text(doc, "todo", problem_advice(v->problem));
    put_text(doc, "topic", v->problem_topic);
    put_text(doc, "event_id", v->problem_event_id);
    put_number(doc, "since_seconds", v->problem_for_s);
    put_count(doc, "attempts", v->attempts);
    put_age(doc, "next_try_seconds", v->next_try_s);
}

static json_t *problem_of(const struct ops_view *v)
{
    json_t *doc;

    if (v->problem == PROBLEM_NONE)
        return json_null();
    doc = json_object();
    put_text(doc, "word", problem_word(v->problem));
    put_text(doc, "class", problem_class_name(problem_class(v->problem)));
    put_blame(doc, v);
    return doc;
}

static json_t *routes_of(const struct ops_view *v)
{
    json_t *doc = json_object();

    for (size_t i = 0; i < v->routes->count; i++) {
        const char *name = v->routes->routes[i].name;
        json_int_t before = json_integer_value(json_object_get(doc, name));

        put_count(doc, name, (uint64_t)before + v->counters->published_by_route[i]);
    }
    return doc;
}

static json_t *published_of(const struct ops_view *v)
{
    json_t *doc = json_object();

    put_count(doc, "events", v->counters->events_published);
    put_count(doc, "bytes", v->counters->bytes_published);
    put_count(doc, "read", v->counters->events_read);
    put_number(doc, "rate_1s", v->rate_1s);
    put_number(doc, "rate_10s", v->rate_10s);
    put_number(doc, "rate_60s", v->rate_60s);
    put(doc, "routes", routes_of(v));
    return doc;
}

static json_t *latency_of(const struct ops_latency *l)
{
    json_t *doc = json_object();
    uint64_t n = latency_count(l);

    put_count(doc, "count", n);
    put_age(doc, "mean_seconds", n == 0 ? -1 : l->sum_s / (double)n);
    put_age(doc, "p50_seconds", latency_quantile(l, 0.5));
    put_age(doc, "p90_seconds", latency_quantile(l, 0.9));
    put_age(doc, "p99_seconds", latency_quantile(l, 0.99));
    return doc;
}

static json_t *latencies_of(const struct ops_view *v)
{
    const struct ops_latency all = latency_since_start(v->counters);
    json_t *doc = json_object();

    put(doc, "last_minute", latency_of(&v->last_minute));
    put(doc, "since_start", latency_of(&all));
    return doc;
}

static json_t *window_of(const struct ops_view *v)
{
    json_t *doc = json_object();

    put_count(doc, "events", v->window_events);
    put_count(doc, "capacity", v->window_capacity);
    put_count(doc, "bytes", v->window_bytes);
    put_count(doc, "bytes_capacity", v->window_bytes_capacity);
    return doc;
}

static json_t *backlog_of(const struct ops_backlog *b)
{
    json_t *doc;

    if (!b->known)
        return json_null();
    doc = json_object();
    put_number(doc, "age_seconds", b->age_s);
    put_told(doc, "unsent_events", b->unsent_events);
    put_bool(doc, "estimated", b->estimated);
    put_age(doc, "oldest_unsent_seconds", b->oldest_unsent_s);
    put_told(doc, "lanes", b->lanes);
    put_age(doc, "oldest_lane_seconds", b->oldest_lane_s);
    put_age(doc, "oldest_transaction_seconds", b->oldest_transaction_s);
    put_bool(doc, "sees_transactions", b->sees_transactions);
    put_told(doc, "overdue_days", b->overdue_days);
    put(doc, "default_partition_has_events",
        b->default_rows < 0 ? json_null() : json_boolean(b->default_rows > 0));
    return doc;
}

/* What never happened is left out. */
static void put_if_any(json_t *doc, const char *name, uint64_t n)
{
    if (n > 0)
        put_count(doc, name, n);
}

static json_t *counters_of(const struct relay_counters *c)
{
    json_t *doc = json_object();
    json_t *wakeups = json_object();
    json_t *recoveries = json_object();
    json_t *errors = json_object();

    for (unsigned i = 0; i < WAKEUP_CAUSES; i++)
        put_count(wakeups, wakeup_cause_name((enum wakeup_cause)i), c->wakeups[i]);
    for (unsigned i = REFUSAL_NONE + 1; i < REFUSAL_COUNT; i++)
        put_if_any(recoveries, refusal_name((enum refusal)i), c->recoveries_by_cause[i]);
    for (unsigned i = PROBLEM_NONE + 1; i < PROBLEM_COUNT; i++)
        put_if_any(errors, problem_word((enum problem)i), c->errors[i]);
    put_count(doc, "polls", c->polls);
    put_count(doc, "pages", c->pages);
    put(doc, "wakeups", wakeups);
    put_count(doc, "stores", c->stores);
    put_count(doc, "renewals", c->renewals);
    put_count(doc, "takeovers", c->takeovers);
    put(doc, "recoveries", recoveries);
    put(doc, "reconnects",
        json_pack("{s:I, s:I}", "postgres", (json_int_t)c->reconnects, "kafka",
                  (json_int_t)c->producers));
    put(doc, "errors", errors);
    put_count(doc, "duplicates_possible", c->duplicates_possible);
    return doc;
}

static json_t *process_of(const struct ops_process *p)
{
    json_t *doc = json_object();

    put_number(doc, "start_time_seconds", p->start_time_s);
    put_number(doc, "cpu_seconds", p->cpu_s);
    put(doc, "resident_bytes",
        p->resident_bytes > 0 ? json_integer((json_int_t)p->resident_bytes) : json_null());
    put(doc, "open_fds", p->open_fds > 0 ? json_integer((json_int_t)p->open_fds) : json_null());
    return doc;
}

static json_t *notes_of(const struct ops_view *v)
{
    json_t *list = json_array();

    for (size_t i = 0; i < v->note_count; i++) {
        json_t *doc = json_object();

        put_number(doc, "age_seconds", v->notes[i].age_s);
        put_text(doc, "text", v->notes[i].text);
        put_text(doc, "error", v->notes[i].error);
        put_count(doc, "times", v->notes[i].times);
        (void)json_array_append_new(list, doc);
    }
    return list;
}

/* ---- whole ---- */

static void write_out(struct str *out, json_t *doc)
{
    char *text = json_dumps(doc, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(9));

    if (text != NULL)
        str_puts(out, text);
    str_put_char(out, '\n');
    free(text);
    json_decref(doc);
}

void report_not_ready(struct str *out, const struct ops_view *v)
{
    json_t *doc = json_object();

    put_bool(doc, "ready", v->ready);
    put_text(doc, "state", relay_state_name(v->state));
    put_text(doc, "problem", problem_word(v->problem));
    put_blame(doc, v);
    write_out(out, doc);
}

void report_status(struct str *out, const struct ops_view *v)
{
    json_t *doc = json_object();

    put_text(doc, "version", v->version);
    put_text(doc, "relay", v->relay);
    put_text(doc, "instance", v->instance);
    put_number(doc, "uptime_seconds", v->uptime_s);
    put_text(doc, "state", relay_state_name(v->state));
    put_bool(doc, "ready", v->ready);
    put_bool(doc, "leader", is_leader(v));
    put_bool(doc, "paused", v->paused);
    put_bool(doc, "halted", v->halted);
    put_count(doc, "epoch", (uint64_t)v->epoch);
    put(doc, "problem", problem_of(v));
    put(doc, "published", published_of(v));
    put(doc, "latency", latencies_of(v));
    put(doc, "window", window_of(v));
    put(doc, "backlog", backlog_of(&v->backlog));
    put(doc, "counters", counters_of(v->counters));
    put(doc, "process", process_of(&v->process));
    put(doc, "notes", notes_of(v));
    write_out(out, doc);
}
