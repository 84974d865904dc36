/* The relay's own producer connects; its statistics say when the brokers have given it a producer
 * id, which is the proof that they answer, let us in and allow idempotence. Then the brokers' list
 * of topics is read, whole: asking for a topic by name would have the brokers create it.
 *
 * Failure: error events tell why nobody answers. The most telling one goes into the report and the
 * rest is left out. Time is counted in beats, which the statistics give ten times a second. */
#include "kafka/inspect.h"

#include "kafka/client.h"
#include "kafka/errors.h"
#include "kafka/inspect_internal.h"
#include "kafka/reaper.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BEAT_TEXT "100"
enum {
    BEAT_MS = 100,
    GREETING_BEATS = 40,
    /* After a first refusal: another address or broker may do better. */
    SECOND_CHANCE_BEATS = 15,
    METADATA_MS = 2000,
    END_WAIT_MS = 1000,
};

/* ---- connecting ------------------------------------------------------------------------------ */

struct greeting {
    bool has_id;    /* a producer id was assigned */
    bool forbidden; /* it was refused */
    int beats_left;
    int weight; /* of the cause below; 0: none yet */
    enum refusal cause;
    char text[384];
};

/* How much an error tells: "all brokers are down" comes last and tells least. */
static int weigh(rd_kafka_resp_err_t code)
{
    if (kafka_refusal(code) == REFUSAL_AUTHENTICATION)
        return 4;
    switch (code) {
    case RD_KAFKA_RESP_ERR__RESOLVE:
        return 3;
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
        return 1;
    default:
        return 2;
    }
}

static void learn_error(struct greeting *g, const struct inspection *in, rd_kafka_event_t *ev)
{
    rd_kafka_resp_err_t code = rd_kafka_event_error(ev);
    int weight = weigh(code);
    if (rd_kafka_event_error_is_fatal(ev)) {
        g->forbidden = true;
        (void)rd_kafka_fatal_error(in->rk, g->text, sizeof(g->text));
        return;
    }
    if (weight > g->weight) {
        g->weight = weight;
        g->cause = kafka_refusal(code);
        snprintf(g->text, sizeof(g->text), "%s", rd_kafka_event_error_string(ev));
    }
    if ((code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN || g->cause == REFUSAL_AUTHENTICATION) &&
        g->beats_left > SECOND_CHANCE_BEATS)
        g->beats_left = SECOND_CHANCE_BEATS;
}

/* `stats` is JSON, in which blanks come and go with the library's version. */
static bool tells_of_an_id(const char *stats)
{
    static const char name[] = "\"idemp_state\"";
    static const char assigned[] = "\"Assigned\"";
    const char *at = strstr(stats, name);
    if (!at)
        return false;
    at += sizeof(name) - 1;
    at += strspn(at, ": ");
    return strncmp(at, assigned, sizeof(assigned) - 1) == 0;
}

/* Until the producer has its id, or it is clear that it gets none. */
static void greet(struct greeting *g, const struct inspection *in, rd_kafka_queue_t *queue)
{
    while (!g->has_id && !g->forbidden && g->beats_left > 0) {
        rd_kafka_event_t *ev = rd_kafka_queue_poll(queue, BEAT_MS);
        switch (rd_kafka_event_type(ev)) { /* NONE for NULL */
        case RD_KAFKA_EVENT_STATS:
            g->has_id = tells_of_an_id(rd_kafka_event_stats(ev));
            g->beats_left--;
            break;
        case RD_KAFKA_EVENT_NONE:
            g->beats_left--;
            break;
        case RD_KAFKA_EVENT_ERROR:
            learn_error(g, in, ev);
            break;
        default: /* log lines */
            break;
        }
        if (ev)
            rd_kafka_event_destroy(ev);
    }
}

static void report_unreachable(const struct inspection *in, const struct greeting *g,
                               rd_kafka_resp_err_t code)
{
    bool late = code == RD_KAFKA_RESP_ERR__TRANSPORT || code == RD_KAFKA_RESP_ERR__TIMED_OUT;
    const char *why = late ? "nothing came back in time" : rd_kafka_err2str(code);
    if (g->weight > 0)
        why = g->text;
    const char *brokers = in->params->brokers;
    if (g->weight > 0 && g->cause == REFUSAL_AUTHENTICATION)
        report_problem(
            in->report, FINDING_WRONG, PROBLEM_AUTHENTICATION,
            "correct security.protocol, sasl.* and ssl.* in kafka.properties",
            "Kafka: the brokers %s are there, but no secured or authenticated connection "
            "comes about: %s",
            brokers, why);
    else
        report_problem(in->report, FINDING_WRONG, PROBLEM_BROKER_UNREACHABLE,
                       "kafka.brokers must name host:port pairs that answer from this machine, and "
                       "kafka.properties the security.protocol that they speak",
                       "Kafka: no broker of %s answers: %s", brokers, why);
}

/* ---- the brokers ----------------------------------------------------------------------------- */

static void report_id(const struct inspection *in, const struct greeting *g)
{
    struct str way = {0};
    if (g->has_id) {
        report_line(in->report, FINDING_OK, NULL, "Kafka: an idempotent producer is allowed");
    } else if (g->forbidden) {
        inspect_put_command(&way, in, "kafka-acls.sh",
                            "--add --allow-principal User:NAME --operation IdempotentWrite "
                            "--cluster (NAME: the relay's user; since Kafka 2.8 Write on a topic "
                            "will do)");
        report_problem(in->report, FINDING_WRONG, PROBLEM_CLUSTER_FORBIDDEN, str_text(&way),
                       "Kafka: the brokers refuse an idempotent producer: %s", g->text);
    } else {
        report_problem(in->report, FINDING_WARN, PROBLEM_BROKER_ERROR,
                       "check again in a minute; if it stays, read the brokers' logs for "
                       "InitProducerId and __transaction_state",
                       "Kafka: the brokers gave no producer id within %d s%s%s: nothing can be "
                       "published before",
                       GREETING_BEATS * BEAT_MS / 1000, g->weight > 0 ? ", " : "",
                       g->weight > 0 ? g->text : "");
    }
    str_release(&way);
}

/* A bootstrap address led us to the brokers; the relay then uses those that they advertise. */
static int report_silent_brokers(const struct inspection *in)
{
    int silent = 0;
    for (int i = 0; i < in->md->broker_cnt; i++) {
        const rd_kafka_metadata_broker_t *b = &in->md->brokers[i];
        const char *why = "";
        if (!inspect_broker_is_silent(in, i, &why))
            continue;
        silent++;
        report_problem(
            in->report, FINDING_WRONG, PROBLEM_BROKER_UNREACHABLE,
            "make that address reachable from here, or correct the broker's "
            "advertised.listeners",
            "Kafka: broker %d does not answer at %s:%d, the address that the cluster gives "
            "for it (%s)",
            (int)b->id, b->host, b->port, why);
    }
    return silent;
}

static void report_brokers(const struct inspection *in)
{
    int count = in->md->broker_cnt;
    char *cluster = rd_kafka_clusterid(in->rk, METADATA_MS);
    int silent = report_silent_brokers(in);
    if (silent == 0)
        report_line(in->report, FINDING_OK, NULL, "Kafka: cluster %s, %d broker%s answering",
                    cluster ? cluster : "without an id", count, count == 1 ? "" : "s");
    else
        report_line(in->report, FINDING_NOTE, NULL, "Kafka: cluster %s, %d of %d brokers answering",
                    cluster ? cluster : "without an id", count - silent, count);
    if (count > 1 && !strchr(in->params->brokers, ','))
        report_line(
            in->report, FINDING_NOTE, "name two or three of them in kafka.brokers",
            "Kafka: kafka.brokers names one broker of %d: while that one is down, a relay that "
            "starts does not find the others",
            count);
    if (cluster)
        rd_kafka_mem_free(in->rk, cluster);
}

/* ---- the whole ------------------------------------------------------------------------------- */

/* Two routes may lead to one topic. The names are lent; the caller frees the array. */
static const char **without_repeats(const char *const *topics, size_t *count)
{
    const char **once = xcalloc(*count + 1, sizeof(const char *));
    size_t n = 0;
    for (size_t i = 0; i < *count; i++) {
        size_t k = 0;
        while (k < n && strcmp(once[k], topics[i]) != 0)
            k++;
        if (k == n)
            once[n++] = topics[i];
    }
    *count = n;
    return once;
}

static void look(struct inspection *in, rd_kafka_queue_t *queue, const char *const *topics,
                 size_t count)
{
    struct greeting g = {.beats_left = GREETING_BEATS};
    greet(&g, in, queue);
    rd_kafka_resp_err_t code = rd_kafka_metadata(in->rk, 1, NULL, &in->md, METADATA_MS);
    if (code) {
        report_unreachable(in, &g, code);
        return;
    }
    inspect_settings_ask(in, topics, count);
    report_brokers(in);
    report_id(in, &g);
    for (size_t i = 0; i < count; i++)
        inspect_topic(in, topics[i]);
    if (count == 0)
        report_line(in->report, FINDING_NOTE, NULL,
                    "Kafka: the topics come from the events, so they are not looked at here");
    inspect_settings_release(in);
    rd_kafka_metadata_destroy(in->md);
}

/* Beats, and errors that say why. */
static int prepare(rd_kafka_conf_t *conf, struct err *err)
{
    char text[256];
    if (rd_kafka_conf_set(conf, "statistics.interval.ms", BEAT_TEXT, text, sizeof(text)) !=
        RD_KAFKA_CONF_OK)
        return err_set(err, ERR_SOFTWARE, "%s", text);
    rd_kafka_conf_set_events(conf,
                             RD_KAFKA_EVENT_STATS | RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_LOG);
    return 0;
}

/* A thread of librdkafka may hang in a name lookup: it is left behind, with what it uses. */
static void end(struct client *client)
{
    struct reaper *reaper = xcalloc(1, sizeof(*reaper));
    reaper_init(reaper);
    reaper_take(reaper, client);
    if (reaper_finish(reaper, END_WAIT_MS))
        free(reaper);
}

void kafka_inspect(const struct kafka_sink_params *params, const char *const *topics, size_t count,
                   const struct report *report)
{
    struct inspection in = {.params = params, .report = report};
    struct err err = {0};
    rd_kafka_conf_t *conf = kafka_conf_new(params, &err);
    if (!conf || prepare(conf, &err)) {
        report_problem(report, FINDING_WRONG, PROBLEM_CONFIGURATION, "correct kafka.properties",
                       "Kafka: %s", err.text);
        if (conf)
            rd_kafka_conf_destroy(conf);
        return;
    }
    struct client *client = client_new(conf, CLIENT_NO_WAKE, &err);
    rd_kafka_conf_destroy(conf);
    if (!client) {
        report_problem(report, FINDING_WRONG, PROBLEM_CONFIGURATION, "correct kafka.properties",
                       "Kafka: %s", err.text);
        return;
    }
    const char **once = without_repeats(topics, &count);
    in.rk = client->rk;
    look(&in, client->queue, once, count);
    free(once);
    end(client);
}
