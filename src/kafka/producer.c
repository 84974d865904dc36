/* The way of a message: send hands it to the present client; librdkafka reports on the client's
 * queue, which writes to an eventfd that the loop watches; serve takes the reports and tells the
 * listener.
 *
 * Failure: a refused message is told and nothing else happens here; the core decides, and calls
 * reset. That replaces the client: the old one is muted and ends in the reaper. A reset from inside
 * a report leaves the old client to serve, which stands on its queue; serve gives it away on its
 * way out. When no new client can be made, or the reaper has no room for the old one, there is
 * none: send refuses until a later reset succeeds. */
#include "kafka/producer.h"

#include "base/log.h"
#include "base/str.h"
#include "kafka/client.h"
#include "kafka/diagnose.h"
#include "kafka/errors.h"
#include "kafka/logs.h"
#include "kafka/reaper.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Reports in one turn of the loop, so that Postgres and the timers get theirs; one event may go
 * beyond. */
enum { REPORTS_PER_TURN = 2048 };
enum { END_WAIT_MS = 5000 };
enum { TOLD_CODES = 8 };
/* A producer at its end reports nothing more of what comes back from a broker for another try; it
 * is swept out as often as this, until reset. */
static const struct timeval SWEEP = {.tv_usec = 20000};
/* An error that was told is told again only after so long, and only if a message was acknowledged
 * in between. */
static const struct timeval TELL_AGAIN = {.tv_sec = 10};

struct kafka_sink {
    struct event_base *base;
    rd_kafka_conf_t *conf;
    char *brokers;
    char **topic_names; /* by the core's number; NULL: not told yet */
    size_t topic_count;
    struct client *client;  /* NULL: the last reset failed */
    struct client *leaving; /* discarded and silent; the reaper had no room for it yet */
    struct client *served;  /* whose queue serve stands on; NULL outside of it */
    bool served_is_old;     /* reset replaced it meanwhile */
    uint64_t newest_seq;
    int wake_fd;
    struct event *wake;
    struct event *more; /* serve again in the next turn */
    struct kafka_listener listener;
    struct kafka_logs logs;
    struct reaper reaper;
    rd_kafka_resp_err_t told[TOLD_CODES]; /* error events that the listener knows of */
    size_t told_count;
    struct event *tell_again;
    struct event *sweep; /* pending from a fatal error to the reset */
};

/* ---- what comes back ------------------------------------------------------------------------- */

static void forget_told(struct kafka_sink *s)
{
    if (s->told_count > 0 && !evtimer_pending(s->tell_again, NULL))
        s->told_count = 0;
}

static void refuse(struct kafka_sink *s, const rd_kafka_message_t *m, uint64_t seq)
{
    char text[512];
    char fatal[384] = "";
    rd_kafka_resp_err_t code = m->err;
    const char *said = rd_kafka_err2str(code);
    if (kafka_refusal(code) == REFUSAL_PRODUCER_FATAL &&
        rd_kafka_fatal_error(s->served->rk, fatal, sizeof(fatal)))
        (void)snprintf(text, sizeof(text), "%s (%s)", said, fatal);
    else
        (void)snprintf(text, sizeof(text), "%s [%d]: %s", rd_kafka_topic_name(m->rkt),
                       (int)m->partition, said);
    s->listener.refused(s->listener.ctx, seq, kafka_refusal(code), text);
}

/* Returns the number of reports. Stops when the listener has replaced the producer: the rest is of
 * the old one. */
static int take_reports(struct kafka_sink *s, rd_kafka_event_t *ev)
{
    int taken = 0;
    const rd_kafka_message_t *m;
    while (!s->served_is_old && (m = rd_kafka_event_message_next(ev)) != NULL) {
        uint64_t seq = client_opaque_seq(m->_private, s->newest_seq);
        taken++;
        if (m->err) {
            refuse(s, m, seq);
            continue;
        }
        forget_told(s);
        s->listener.acked(s->listener.ctx, seq, m->partition);
    }
    return taken;
}

static bool already_told(struct kafka_sink *s, rd_kafka_resp_err_t code)
{
    for (size_t i = 0; i < s->told_count; i++) {
        if (s->told[i] == code)
            return true;
    }
    if (s->told_count < TOLD_CODES)
        s->told[s->told_count++] = code;
    evtimer_add(s->tell_again, &TELL_AGAIN);
    return false;
}

static void take_error(struct kafka_sink *s, rd_kafka_event_t *ev)
{
    char text[512];
    char fatal[384] = "";
    rd_kafka_resp_err_t code = rd_kafka_event_error(ev);
    enum refusal why = kafka_refusal(code);
    const char *said = rd_kafka_event_error_string(ev);
    /* The event's own code is _FATAL or the error behind it; the producer knows for sure. */
    rd_kafka_resp_err_t behind = rd_kafka_fatal_error(s->served->rk, fatal, sizeof(fatal));
    if (behind) {
        code = behind;
        why = kafka_refusal(code);
        if (refusal_class(why) != REFUSAL_SESSION)
            why = REFUSAL_PRODUCER_FATAL; /* whatever the cause was, this producer is at its end */
        said = fatal;
        event_add(s->sweep, &SWEEP);
    }
    if (why == REFUSAL_NONE || already_told(s, code))
        return;
    if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN)
        (void)snprintf(text, sizeof(text), "no broker of %s answers", s->brokers);
    else
        (void)snprintf(text, sizeof(text), "%s", said ? said : rd_kafka_err2str(code));
    s->listener.error(s->listener.ctx, why, text);
}

static void take_log(struct kafka_sink *s, rd_kafka_event_t *ev)
{
    const char *facility = "";
    const char *text = "";
    int level = 6;
    if (rd_kafka_event_log(ev, &facility, &text, &level) == 0)
        kafka_logs_line(&s->logs, level, facility, text);
}

/* Returns what it counts for in this turn. */
static int take_event(struct kafka_sink *s, rd_kafka_event_t *ev)
{
    switch (rd_kafka_event_type(ev)) {
    case RD_KAFKA_EVENT_DR:
        return take_reports(s, ev);
    case RD_KAFKA_EVENT_ERROR:
        take_error(s, ev);
        return 1;
    case RD_KAFKA_EVENT_LOG:
        take_log(s, ev);
        return 1;
    default:
        return 1;
    }
}

/* Hands the discarded client to the reaper, if that has room. */
static void bury(struct kafka_sink *s)
{
    if (!s->leaving || reaper_room(&s->reaper) == 0)
        return;
    reaper_take(&s->reaper, s->leaving);
    s->leaving = NULL;
}

/* Polls until the queue is empty (the eventfd is written to only when it turns from empty to
 * non-empty) or the turn is over; then a timer of zero comes back here after the loop has looked at
 * everything else. */
static void serve(struct kafka_sink *s)
{
    struct client *c = s->client;
    if (!c)
        return;
    s->served = c;
    s->served_is_old = false;
    int taken = 0;
    rd_kafka_event_t *ev = NULL;
    while (!s->served_is_old && taken < REPORTS_PER_TURN &&
           (ev = rd_kafka_queue_poll(c->queue, 0)) != NULL) {
        taken += take_event(s, ev);
        rd_kafka_event_destroy(ev);
    }
    s->served = NULL;
    if (s->served_is_old) {
        s->leaving = c;
        bury(s);
    }
    if (taken >= REPORTS_PER_TURN || s->served_is_old) {
        static const struct timeval now = {0};
        evtimer_add(s->more, &now);
    }
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    uint64_t token;
    (void)what;
    /* First the token, then the queue: the other way round, a report in between would wake nobody.
     */
    if (read(fd, &token, sizeof(token)) < 0 && errno != EAGAIN && errno != EINTR)
        log_warn("read of the wake-up descriptor failed", LOG_S("error", strerror(errno)));
    serve(arg);
}

static void on_more(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    serve(arg);
}

static void on_tell_again(evutil_socket_t fd, short what, void *arg)
{
    /* Only that it is no longer pending matters: see forget_told. */
    (void)fd;
    (void)what;
    (void)arg;
}

/* After a fatal error librdkafka sends nothing more and purges its queues once. A batch that was in
 * flight then and is answered with "out of order" goes back to its queue and would stay there
 * without a report for ever (seen); the relay would wait in vain for it. What is still in flight is
 * left to its answer. */
static void on_sweep(evutil_socket_t fd, short what, void *arg)
{
    struct kafka_sink *s = arg;
    (void)fd;
    (void)what;
    if (s->client)
        rd_kafka_purge(s->client->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_NON_BLOCKING);
}

/* ---- ops ------------------------------------------------------------------------------------- */

static void sink_topic(void *ctx, uint32_t topic, const char *name)
{
    struct kafka_sink *s = ctx;
    if (topic >= s->topic_count) {
        size_t count = (size_t)topic + 16;
        s->topic_names = xrealloc(s->topic_names, count * sizeof(char *));
        for (size_t i = s->topic_count; i < count; i++)
            s->topic_names[i] = NULL;
        s->topic_count = count;
    }
    if (!s->topic_names[topic])
        s->topic_names[topic] = xstrdup(name);
    /* Asks for the metadata now, before the first message waits for it. An error comes again at
     * send. */
    struct err ignored;
    if (s->client && !client_topic(s->client, topic, name, &ignored))
        log_debug("topic is not usable yet", LOG_S("topic", name), LOG_S("error", ignored.text));
}

static int32_t sink_partitions(void *ctx, uint32_t topic)
{
    const struct kafka_sink *s = ctx;
    return s->client ? client_partitions(s->client, topic) : 0;
}

/* NULL when there are none, or on error (*failed is set then). */
static rd_kafka_headers_t *make_headers(const struct message *m, bool *failed)
{
    *failed = false;
    if (m->header_count == 0)
        return NULL;
    rd_kafka_headers_t *headers = rd_kafka_headers_new(m->header_count);
    for (size_t i = 0; i < m->header_count; i++) {
        const struct message_header *h = &m->headers[i];
        if (rd_kafka_header_add(headers, h->name.ptr, (ssize_t)h->name.len, h->value.ptr,
                                (ssize_t)h->value.len)) {
            rd_kafka_headers_destroy(headers);
            *failed = true;
            return NULL;
        }
    }
    return headers;
}

/* librdkafka wants pointers to void and, with F_COPY, writes to none of them. */
static void *without_const(const char *p)
{
    void *q;
    memcpy(&q, &p, sizeof(q));
    return q;
}

/* On failure the headers stay ours. On success librdkafka has copied key and value, and owns the
 * headers. */
static rd_kafka_resp_err_t produce(rd_kafka_t *rk, rd_kafka_topic_t *rkt, const struct message *m,
                                   void *opaque)
{
    bool failed;
    rd_kafka_headers_t *headers = make_headers(m, &failed);
    if (failed)
        return RD_KAFKA_RESP_ERR__INVALID_ARG;
    void *key = without_const(m->key.ptr);
    void *value = without_const(m->value.ptr);
    rd_kafka_resp_err_t code =
        rd_kafka_producev(rk, RD_KAFKA_V_RKT(rkt), RD_KAFKA_V_PARTITION(RD_KAFKA_PARTITION_UA),
                          RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY(key, m->key.len),
                          RD_KAFKA_V_VALUE(value, m->value.len), RD_KAFKA_V_HEADERS(headers),
                          RD_KAFKA_V_OPAQUE(opaque), RD_KAFKA_V_END);
    if (code && headers)
        rd_kafka_headers_destroy(headers);
    return code;
}

static int refuse_now(rd_kafka_resp_err_t code, struct kafka_sink *s, const char *topic,
                      struct send_refusal *why)
{
    char fatal[384];
    why->cause = kafka_refusal(code);
    if (code == RD_KAFKA_RESP_ERR__FATAL &&
        rd_kafka_fatal_error(s->client->rk, fatal, sizeof(fatal)))
        err_set(&why->err, ERR_UNAVAILABLE, "topic %s: %s", topic, fatal);
    else
        err_set(&why->err, ERR_UNAVAILABLE, "topic %s: %s", topic, rd_kafka_err2str(code));
    return -EIO;
}

static int sink_send(void *ctx, uint32_t topic, int32_t partition, const struct message *m,
                     uint64_t seq, struct send_refusal *why)
{
    struct kafka_sink *s = ctx;
    assert(topic < s->topic_count && s->topic_names[topic]);
    const char *name = s->topic_names[topic];
    why->cause = REFUSAL_PRODUCER_FATAL;
    if (!s->client) {
        err_set(&why->err, ERR_UNAVAILABLE, "topic %s: there is no producer at present", name);
        return -ENOTCONN;
    }
    if (partition > OPAQUE_PARTITION_MAX) {
        err_set(&why->err, ERR_SOFTWARE, "topic %s: partition %d is beyond what can be sent", name,
                (int)partition);
        return -EINVAL;
    }
    rd_kafka_topic_t *rkt = client_topic(s->client, topic, name, &why->err);
    if (!rkt)
        return -EIO;
    if (seq > s->newest_seq)
        s->newest_seq = seq;
    rd_kafka_resp_err_t code = produce(s->client->rk, rkt, m, client_opaque(seq, partition));
    if (!code)
        return 0;
    if (code == RD_KAFKA_RESP_ERR__QUEUE_FULL)
        return -EAGAIN;
    return refuse_now(code, s, name, why);
}

/* Nothing of the present client is reported after this, and it sends nothing more. */
static void discard(struct kafka_sink *s)
{
    struct client *old = s->client;
    if (!old)
        return;
    s->client = NULL;
    event_del(s->sweep);
    client_mute(old);
    rd_kafka_purge(old->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT |
                                RD_KAFKA_PURGE_F_NON_BLOCKING);
    if (old == s->served)
        s->served_is_old = true;
    else
        s->leaving = old;
}

static int sink_reset(void *ctx, struct err *err)
{
    struct kafka_sink *s = ctx;
    discard(s);
    /* The one that serve stands on will need room too. */
    int leaving = (s->served ? 1 : 0) + (s->leaving ? 1 : 0);
    if (reaper_room(&s->reaper) < leaving)
        return err_set(
            err, ERR_UNAVAILABLE,
            "replace the producer: earlier ones have not ended yet (at most %d may be ending)",
            REAPER_GRAVES);
    bury(s);
    s->told_count = 0;
    s->client = client_new(s->conf, s->wake_fd, err);
    if (!s->client)
        return -1;
    for (size_t i = 0; i < s->topic_count; i++) {
        if (s->topic_names[i])
            sink_topic(s, (uint32_t)i, s->topic_names[i]);
    }
    return 0;
}

static bool sink_diagnose(void *ctx, uint32_t topic, struct err *err, enum refusal *cause)
{
    struct kafka_sink *s = ctx;
    if (topic == UINT32_MAX && s->client)
        return diagnose(s->client->rk, NULL, s->brokers, err, cause);
    if (!s->client || topic >= s->topic_count || !s->topic_names[topic])
        return false;
    rd_kafka_topic_t *rkt = client_topic(s->client, topic, s->topic_names[topic], err);
    return rkt && diagnose(s->client->rk, rkt, s->brokers, err, cause);
}

const struct sink_ops kafka_sink_ops = {
    .topic = sink_topic,
    .partitions = sink_partitions,
    .send = sink_send,
    .reset = sink_reset,
    .diagnose = sink_diagnose,
};

/* ---- life ------------------------------------------------------------------------------------ */

struct kafka_sink *kafka_sink_new(const struct kafka_sink_params *params, struct event_base *base,
                                  struct err *err)
{
    rd_kafka_conf_t *conf = kafka_conf_new(params, err);
    if (!conf)
        return NULL;
    struct kafka_sink *s = xcalloc(1, sizeof(*s));
    s->base = base;
    s->conf = conf;
    s->brokers = xstrdup(params->brokers);
    reaper_init(&s->reaper);
    kafka_logs_init(&s->logs, base);
    s->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (s->wake_fd < 0) {
        err_set(err, ERR_SOFTWARE, "eventfd: %s", strerror(errno));
        goto fail;
    }
    s->wake = event_new(base, s->wake_fd, EV_READ | EV_PERSIST, on_wake, s);
    s->more = evtimer_new(base, on_more, s);
    s->tell_again = evtimer_new(base, on_tell_again, s);
    s->sweep = event_new(base, -1, EV_PERSIST, on_sweep, s);
    if (!s->wake || !s->more || !s->tell_again || !s->sweep || event_add(s->wake, NULL) < 0) {
        err_set(err, ERR_SOFTWARE, "watch the producer: out of memory");
        goto fail;
    }
    s->client = client_new(conf, s->wake_fd, err);
    if (!s->client)
        goto fail;
    return s;
fail:
    kafka_sink_free(s);
    return NULL;
}

void kafka_sink_listen(struct kafka_sink *s, const struct kafka_listener *listener)
{
    s->listener = *listener;
}

static void free_events(struct kafka_sink *s)
{
    struct event *const all[] = {s->wake, s->more, s->tell_again, s->sweep};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        if (all[i])
            event_free(all[i]);
    }
}

void kafka_sink_free(struct kafka_sink *s)
{
    if (!s)
        return;
    assert(!s->served);
    /* An earlier one that cannot end must not keep the room from the present one for ever. */
    discard(s);
    if (s->leaving && reaper_room(&s->reaper) == 0)
        (void)reaper_finish(&s->reaper, END_WAIT_MS);
    bury(s);
    free_events(s);
    kafka_logs_release(&s->logs);
    if (!reaper_finish(&s->reaper, END_WAIT_MS) || s->leaving) {
        /* Its threads still use the sink's memory: it stays until the process ends. */
        log_warn("a Kafka producer does not end; left to the end of the process", LOG_END);
        return;
    }
    if (s->wake_fd >= 0)
        close(s->wake_fd);
    for (size_t i = 0; i < s->topic_count; i++)
        free(s->topic_names[i]);
    free(s->topic_names);
    rd_kafka_conf_destroy(s->conf);
    free(s->brokers);
    free(s);
}
