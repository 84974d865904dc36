/* name -> labels -> value, each a line of the table below; the lines of one metric are the values
 * of its label.
 *
 * A value that is NAN is not known, or does not apply: its line is left out. */
#include "ops/metrics.h"

#include <math.h>
#include <string.h>

/* ---- values that take more than a member ---- */

static double known(bool is_known, double value)
{
    return is_known ? value : (double)NAN;
}

static double none_is_zero(double value)
{
    return value < 0 ? 0 : value;
}

/* Of the backlog: -1 could not be told. */
static double told(const struct ops_view *v, int64_t count)
{
    return known(v->backlog.known && count >= 0, (double)count);
}

/* That we see none says nothing when we may not look. */
static double oldest_transaction(const struct ops_view *v)
{
    const struct ops_backlog *b = &v->backlog;

    return known(b->known && (b->sees_transactions || b->oldest_transaction_s >= 0),
                 none_is_zero(b->oldest_transaction_s));
}

/* Only who leads knows how lanes are. */
static double of_leader(const struct ops_view *v, uint32_t count)
{
    return known(v->state == RELAY_LEADING || v->state == RELAY_DRAINING, count);
}

static const char *route_label(const struct ops_view *v, size_t i)
{
    return v->routes->routes[i].name;
}

/* A route of the configuration may be called default, too: one line for both. */
static double published(const struct ops_view *v, size_t i)
{
    double sum = 0;

    for (size_t k = 0; k < v->routes->count; k++) {
        if (strcmp(route_label(v, k), route_label(v, i)) != 0)
            continue;
        if (k < i)
            return (double)NAN;
        sum += (double)v->counters->published_by_route[k];
    }
    return sum;
}

/* A counter is there before it counts, or its first increase is missed: all that can be counted
 * while the relay goes on. */
static double errors(const struct ops_view *v, size_t i)
{
    enum problem p = (enum problem)(i + 1);
    bool lasts = problem_class(p) == PROBLEM_PASSES || problem_class(p) == PROBLEM_PERSON;

    if (p == PROBLEM_NO_LEADER || p == PROBLEM_PAUSED)
        lasts = false;
    return known(lasts || v->counters->errors[p] > 0, (double)v->counters->errors[p]);
}

static double reconnects(const struct ops_view *v, size_t i)
{
    return (double)(i == 0 ? v->counters->reconnects : v->counters->producers);
}

/* ---- labels: names, how many values, and the i-th ---- */

static void put_label(struct str *out, const char *name, const char *value)
{
    if (out->data[out->len - 1] != '{')
        str_put_char(out, ',');
    str_printf(out, "%s=\"", name);
    for (const char *p = value; *p != '\0'; p++) {
        if (*p == '\\' || *p == '"')
            str_put_char(out, '\\');
        if (*p == '\n')
            str_puts(out, "\\n");
        else
            str_put_char(out, *p);
    }
    str_put_char(out, '"');
}

static size_t count_one(const struct ops_view *v)
{
    (void)v;
    return 1;
}

static size_t count_routes(const struct ops_view *v)
{
    return v->routes->count;
}

static size_t count_problems(const struct ops_view *v)
{
    (void)v;
    return PROBLEM_COUNT - 1;
}

static size_t count_refusals(const struct ops_view *v)
{
    (void)v;
    return REFUSAL_COUNT - 1;
}

static size_t count_wakeups(const struct ops_view *v)
{
    (void)v;
    return WAKEUP_CAUSES;
}

static size_t count_sides(const struct ops_view *v)
{
    (void)v;
    return 2;
}

static void put_route(struct str *out, const struct ops_view *v, size_t i)
{
    put_label(out, "route", route_label(v, i));
}

static void put_class(struct str *out, const struct ops_view *v, size_t i)
{
    (void)v;
    put_label(out, "class", problem_word((enum problem)(i + 1)));
}

static void put_problem(struct str *out, const struct ops_view *v, size_t i)
{
    (void)v;
    put_label(out, "cause", problem_word((enum problem)(i + 1)));
}

static void put_refusal(struct str *out, const struct ops_view *v, size_t i)
{
    (void)v;
    put_label(out, "cause", refusal_name((enum refusal)(i + 1)));
}

static void put_wakeup(struct str *out, const struct ops_view *v, size_t i)
{
    (void)v;
    put_label(out, "cause", wakeup_cause_name((enum wakeup_cause)i));
}

static void put_side(struct str *out, const struct ops_view *v, size_t i)
{
    (void)v;
    put_label(out, "side", i == 0 ? "postgres" : "kafka");
}

static void put_build(struct str *out, const struct ops_view *v, size_t i)
{
    (void)i;
    put_label(out, "version", v->version);
    put_label(out, "relay", v->relay);
    put_label(out, "instance", v->instance);
}

struct label_set {
    const char *names;
    size_t (*count)(const struct ops_view *v);
    void (*put)(struct str *out, const struct ops_view *v, size_t i); /* NULL: no labels */
};

static const struct label_set none = {"", count_one, NULL};
static const struct label_set by_route = {"route", count_routes, put_route};
static const struct label_set by_class = {"class", count_problems, put_class};
static const struct label_set by_problem = {"cause", count_problems, put_problem};
static const struct label_set by_refusal = {"cause", count_refusals, put_refusal};
static const struct label_set by_wakeup = {"cause", count_wakeups, put_wakeup};
static const struct label_set by_side = {"side", count_sides, put_side};
static const struct label_set by_build = {"version,relay,instance", count_one, put_build};

/* ---- the table: name, type, labels, unit, value (of the view `v`, label number `i`), help ---- */

#define METRICS(X)                                                                                 \
    X(outboxd_build_info, GAUGE, by_build, "", 1,                                                  \
      "Always 1; the labels tell the version, the relay's name and the process")                   \
    /* is it well? */                                                                              \
    X(outboxd_ready, GAUGE, none, "", v->ready,                                                    \
      "1 when this process can publish, or stands by for one that does; what /readyz answers")     \
    X(outboxd_leader, GAUGE, none, "", v->state == RELAY_LEADING || v->state == RELAY_DRAINING,    \
      "1 when this process holds the lease and publishes; the sum over all processes of a relay "  \
      "should be 1")                                                                               \
    X(outboxd_paused, GAUGE, none, "", v->paused,                                                  \
      "1 when the relay was paused by `outboxd pause`")                                            \
    X(outboxd_halted, GAUGE, none, "", v->halted,                                                  \
      "1 when an event cannot be published and everything waits behind it; outboxd_trouble says "  \
      "why")                                                                                       \
    X(outboxd_trouble, GAUGE, by_problem, "", known(v->problem == (enum problem)(i + 1), 1),       \
      "1 for what is wrong now, by its word in the runbook; absent when nothing is")               \
    X(outboxd_epoch, GAUGE, none, "", known(v->epoch > 0, (double)v->epoch),                       \
      "Number of the present lease as far as this process knows; it rises with every takeover")    \
    /* what is published */                                                                        \
    X(outboxd_events_published_total, COUNTER, by_route, "events", published(v, i),                \
      "Events that Kafka acknowledged, by the route they took")                                    \
    X(outboxd_bytes_published_total, COUNTER, none, "bytes", v->counters->bytes_published,         \
      "Bytes of the messages that Kafka acknowledged, with keys, headers and what a message "      \
      "costs beside")                                                                              \
    X(outboxd_events_read_total, COUNTER, none, "events", v->counters->events_read,                \
      "Events read from the database and handed to the producer; more than were published when "   \
      "some had to be read again")                                                                 \
    X(outboxd_duplicates_possible_total, COUNTER, none, "events",                                  \
      v->counters->duplicates_possible,                                                            \
      "Events that were under way when a producer was replaced: at most so many were sent twice")  \
    X(outboxd_delivery_seconds, HISTOGRAM, none, "seconds", 0,                                     \
      "Time from an event's insert (created_at) to its acknowledgement by Kafka; clocks of "       \
      "database and relay are compared")                                                           \
    /* what waits */                                                                               \
    X(outboxd_unsent_events, GAUGE, none, "events", told(v, v->backlog.unsent_events),             \
      "Committed events that are not published yet, as the database last said")                    \
    X(outboxd_unsent_events_estimated, GAUGE, none, "",                                            \
      known(v->backlog.known, v->backlog.estimated),                                               \
      "1 when outboxd_unsent_events is an estimate, because there are too many to be counted")     \
    X(outboxd_oldest_unsent_seconds, GAUGE, none, "seconds",                                       \
      known(v->backlog.known, none_is_zero(v->backlog.oldest_unsent_s)),                           \
      "Age of the oldest committed event that is not published yet; 0 when all are")               \
    X(outboxd_backlog_age_seconds, GAUGE, none, "seconds",                                         \
      known(v->backlog.known, v->backlog.age_s),                                                   \
      "How long ago the database answered what waits; outboxd_unsent_events and its neighbours "   \
      "are so old")                                                                                \
    X(outboxd_lanes, GAUGE, none, "lanes", told(v, v->backlog.lanes),                              \
      "Lanes beside the main one: keys or topics that wait alone for what they are refused for")   \
    X(outboxd_lanes_waiting, GAUGE, none, "lanes", of_leader(v, v->lanes.waiting),                 \
      "Lanes that wait for their next try")                                                        \
    X(outboxd_lanes_for_person, GAUGE, none, "lanes", of_leader(v, v->lanes.for_person),           \
      "Of the waiting lanes, those whose cause does not pass by itself: `outboxd parked list`")    \
    X(outboxd_lanes_flowing, GAUGE, none, "lanes", of_leader(v, v->lanes.flowing),                 \
      "Lanes whose events are acknowledged again, and that catch up")                              \
    X(outboxd_lane_oldest_seconds, GAUGE, none, "seconds",                                         \
      known(v->backlog.known, none_is_zero(v->backlog.oldest_lane_s)),                             \
      "Since when the oldest lane is there; 0 when there is none")                                 \
    X(outboxd_lanes_made_total, COUNTER, none, "lanes", v->counters->lanes_made,                   \
      "Lanes made for what could not be sent, so that all the rest goes on")                       \
    X(outboxd_lanes_merged_total, COUNTER, none, "lanes", v->counters->lanes_merged,               \
      "Lanes that caught up and are back with the others")                                         \
    X(outboxd_lane_tries_total, COUNTER, none, "tries", v->counters->lane_tries,                   \
      "Tries to send what waits in a lane, each with a producer of its own")                       \
    X(outboxd_lane_events_published_total, COUNTER, none, "events", v->counters->lane_events,      \
      "Events that Kafka acknowledged from lanes; they count in outboxd_events_published_total, "  \
      "too")                                                                                       \
    X(outboxd_events_passed_total, COUNTER, none, "events", v->counters->events_passed,            \
      "Events that the main stream read and left to a lane")                                       \
    X(outboxd_events_skipped_total, COUNTER, none, "events", v->counters->events_skipped,          \
      "Events given up, which outbox.dead records")                                                \
    X(outboxd_window_events, GAUGE, none, "events", v->window_events,                              \
      "Events under way: read, and their position not stored yet; what a crash can repeat")        \
    X(outboxd_window_capacity_events, GAUGE, none, "events", v->window_capacity,                   \
      "The most that outboxd_window_events can be (relay.window_events)")                          \
    X(outboxd_window_bytes, GAUGE, none, "bytes", (double)v->window_bytes,                         \
      "Bytes sent and not yet acknowledged")                                                       \
    X(outboxd_window_capacity_bytes, GAUGE, none, "bytes", (double)v->window_bytes_capacity,       \
      "What outboxd_window_bytes is held to (relay.window_bytes); one larger event goes alone")    \
    /* what went wrong */                                                                          \
    X(outboxd_errors_total, COUNTER, by_class, "errors", errors(v, i),                             \
      "Refusals by Kafka and losses of the database, by their word in the runbook")                \
    X(outboxd_recoveries_total, COUNTER, by_refusal, "recoveries",                                 \
      (double)v->counters->recoveries_by_cause[i + 1],                                             \
      "Producers replaced after a refusal, by what was refused first")                             \
    X(outboxd_reconnects_total, COUNTER, by_side, "reconnects", reconnects(v, i),                  \
      "postgres: sessions lost and opened again; kafka: producers replaced, each of which "        \
      "connects anew")                                                                             \
    X(outboxd_takeovers_total, COUNTER, none, "takeovers", v->counters->takeovers,                 \
      "How often this process took the lease")                                                     \
    /* how it works */                                                                             \
    X(outboxd_wakeups_total, COUNTER, by_wakeup, "looks", v->counters->wakeups[i],                 \
      "Looks that found events, by what made the relay look: the doorbell (notify), its rhythm "   \
      "(poll), the belt beside the doorbell (fallback), or more of a backlog")                     \
    X(outboxd_polls_total, COUNTER, none, "looks", v->counters->polls, "Looks for new events")     \
    X(outboxd_pages_total, COUNTER, none, "pages", v->counters->pages, "Pages read of backlogs")   \
    X(outboxd_stores_total, COUNTER, none, "stores", v->counters->stores,                          \
      "Positions stored in the database")                                                          \
    X(outboxd_renewals_total, COUNTER, none, "renewals", v->counters->renewals,                    \
      "Renewals of the lease")                                                                     \
    /* around it */                                                                                \
    X(outboxd_oldest_transaction_seconds, GAUGE, none, "seconds", oldest_transaction(v),           \
      "Age of the oldest open transaction that holds back vacuum and retention; 0 without one")    \
    X(outboxd_retention_overdue_partitions, GAUGE, none, "partitions",                             \
      told(v, v->backlog.overdue_days),                                                            \
      "Days that retention.keep should have taken away and that are still there")                  \
    X(outboxd_default_partition_has_events, GAUGE, none, "", told(v, v->backlog.default_rows),     \
      "1 when outbox.event_default holds events: days were not made ahead")                        \
    /* the names that every Prometheus client has */                                               \
    X(process_start_time_seconds, GAUGE, none, "seconds", v->process.start_time_s,                 \
      "Start of the process, in seconds since 1970")                                               \
    X(process_cpu_seconds_total, COUNTER, none, "seconds", v->process.cpu_s,                       \
      "Processor time used, user and system")                                                      \
    X(process_resident_memory_bytes, GAUGE, none, "bytes",                                         \
      known(v->process.resident_bytes > 0, (double)v->process.resident_bytes), "Resident memory")  \
    X(process_open_fds, GAUGE, none, "descriptors",                                                \
      known(v->process.open_fds > 0, (double)v->process.open_fds), "Open file descriptors")

#define X(name, type, labels, unit, value, help)                                                   \
    static double value_of_##name(const struct ops_view *v, size_t i)                              \
    {                                                                                              \
        (void)v;                                                                                   \
        (void)i;                                                                                   \
        return (double)(value);                                                                    \
    }
METRICS(X)
#undef X

static const struct entry {
    const char *name;
    enum metric_type type;
    const struct label_set *labels;
    const char *unit;
    const char *help;
    double (*value)(const struct ops_view *v, size_t i);
} entries[] = {
#define X(name, type, labels, unit, value, help)                                                   \
    {#name, METRIC_##type, &(labels), (unit), (help), value_of_##name},
    METRICS(X)
#undef X
};

size_t metrics_count(void)
{
    return ARRAY_LEN(entries);
}

struct metric metrics_at(size_t i)
{
    const struct entry *e = &entries[i];

    return (struct metric){.name = e->name,
                           .type = e->type,
                           .labels = e->labels->names,
                           .unit = e->unit,
                           .help = e->help};
}

const char *metric_type_name(enum metric_type type)
{
    switch (type) {
    case METRIC_COUNTER:
        return "counter";
    case METRIC_GAUGE:
        return "gauge";
    case METRIC_HISTOGRAM:
        break;
    }
    return "histogram";
}

/* ---- the text ---- */

static void put_header(struct str *out, const struct entry *e)
{
    str_printf(out, "# HELP %s ", e->name);
    for (const char *p = e->help; *p != '\0'; p++) {
        if (*p == '\\')
            str_put_char(out, '\\');
        str_put_char(out, *p);
    }
    str_printf(out, "\n# TYPE %s %s\n", e->name, metric_type_name(e->type));
}

/* Counts as whole numbers, and enough digits for a time. */
static void put_value(struct str *out, double value)
{
    str_printf(
        out, value >= 0 && value < 1e15 && value == (double)(int64_t)value ? " %.0f\n" : " %.15g\n",
        value);
}

static void put_samples(struct str *out, const struct entry *e, const struct ops_view *v)
{
    bool begun = false;

    for (size_t i = 0; i < e->labels->count(v); i++) {
        double value = e->value(v, i);

        if (isnan(value))
            continue;
        if (!begun)
            put_header(out, e);
        begun = true;
        str_puts(out, e->name);
        if (e->labels->put != NULL) {
            str_put_char(out, '{');
            e->labels->put(out, v, i);
            str_put_char(out, '}');
        }
        put_value(out, value);
    }
}

/* The only histogram is the one of latencies. */
static void put_histogram(struct str *out, const struct entry *e, const struct ops_view *v)
{
    uint64_t up_to = 0;

    put_header(out, e);
    for (size_t i = 0; i <= RELAY_LATENCY_BUCKETS; i++) {
        up_to += v->counters->latency_buckets[i];
        if (i < RELAY_LATENCY_BUCKETS)
            str_printf(out, "%s_bucket{le=\"%g\"}", e->name, relay_latency_bounds[i]);
        else
            str_printf(out, "%s_bucket{le=\"+Inf\"}", e->name);
        put_value(out, (double)up_to);
    }
    str_printf(out, "%s_sum", e->name);
    put_value(out, v->counters->latency_sum_s);
    str_printf(out, "%s_count", e->name);
    put_value(out, (double)up_to);
}

void metrics_write(struct str *out, const struct ops_view *v)
{
    for (size_t i = 0; i < ARRAY_LEN(entries); i++) {
        if (entries[i].type == METRIC_HISTOGRAM)
            put_histogram(out, &entries[i], v);
        else
            put_samples(out, &entries[i], v);
    }
}
