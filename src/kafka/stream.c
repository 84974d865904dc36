/* The way of a message: send hands it to the present client; librdkafka reports on the client's
 * queue, which writes to an eventfd that the loop watches; serve takes the reports and tells the
 * listener.
 *
 * Failure: a refused message is told and nothing else happens here; the core decides, and calls
 * reset. That replaces the client: the old one is muted and ends in the reaper. A reset or close
 * from inside a report leaves the old client to serve, which stands on its queue; serve gives it
 * away on its way out. When no new client can be made, or too many earlier ones are still ending,
 * there is none: send refuses until a later reset succeeds. */
#include "kafka/stream.h"

#include "base/log.h"
#include "base/str.h"
#include "kafka/diagnose.h"
#include "kafka/errors.h"
#include "kafka/record.h"

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
/* A producer at its end reports nothing more of what comes back from a broker for another try; it
 * is swept out as often as this, until reset. */
static const struct timeval SWEEP = {.tv_usec = 20000};

/* ---- what comes back ------------------------------------------------------------------------- */

/* Whatever the cause was, a producer with a fatal error is at its end; `text` says why. Only what
 * concerns us as a client says more than that. */
static enum refusal cause_of_end(rd_kafka_t *rk, char *text, size_t size)
{
    enum refusal why = kafka_refusal(rd_kafka_fatal_error(rk, text, size));
    return refusal_class(why) == REFUSAL_SESSION ? why : REFUSAL_PRODUCER_FATAL;
}

static void refuse(struct kafka_stream *s, const rd_kafka_message_t *m, uint64_t seq)
{
    char text[512];
    char fatal[384] = "";
    rd_kafka_resp_err_t code = m->err;
    enum refusal why = kafka_refusal(code);
    const char *said = rd_kafka_err2str(code);
    if (why == REFUSAL_PRODUCER_FATAL && rd_kafka_fatal_error(s->served->rk, NULL, 0)) {
        why = cause_of_end(s->served->rk, fatal, sizeof(fatal));
        (void)snprintf(text, sizeof(text), "%s (%s)", said, fatal);
    } else {
        (void)snprintf(text, sizeof(text), "%s [%d]: %s", rd_kafka_topic_name(m->rkt),
                       (int)m->partition, said);
    }
    s->common->listener.refused(s->common->listener.ctx, s->number, seq, why, text);
}

/* Returns the number of reports. Stops when the listener has replaced the producer: the rest is of
 * the old one. */
static int take_reports(struct kafka_stream *s, rd_kafka_event_t *ev)
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
        told_acked(&s->told);
        s->common->listener.acked(s->common->listener.ctx, s->number, seq, m->partition);
    }
    return taken;
}

static void take_error(struct kafka_stream *s, rd_kafka_event_t *ev)
{
    char text[512];
    char fatal[384] = "";
    rd_kafka_resp_err_t code = rd_kafka_event_error(ev);
    enum refusal why = kafka_refusal(code);
    const char *said = rd_kafka_event_error_string(ev);
    /* The event's own code is _FATAL or the error behind it; the producer knows for sure. */
    rd_kafka_resp_err_t behind = rd_kafka_fatal_error(s->served->rk, NULL, 0);
    if (behind) {
        code = behind;
        why = cause_of_end(s->served->rk, fatal, sizeof(fatal));
        said = fatal;
        event_add(s->sweep, &SWEEP);
    }
    (void)snprintf(text, sizeof(text), "%s", said ? said : rd_kafka_err2str(code));
    if (why == REFUSAL_AUTHENTICATION)
        told_deny(&s->told, text);
    else if (why == REFUSAL_BROKER_UNREACHABLE && s->told.denied[0])
        return; /* none can be reached because none lets us in */
    if (why == REFUSAL_NONE || told_before(&s->told, code))
        return;
    if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN)
        (void)snprintf(text, sizeof(text), "no broker of %s answers", s->common->brokers);
    s->common->listener.error(s->common->listener.ctx, s->number, why, text);
}

static void take_log(struct kafka_stream *s, rd_kafka_event_t *ev)
{
    const char *facility = "";
    const char *text = "";
    int level = 6;
    if (rd_kafka_event_log(ev, &facility, &text, &level) == 0)
        kafka_logs_line(&s->common->logs, level, facility, text);
}

/* Returns what it counts for in this turn. */
static int take_event(struct kafka_stream *s, rd_kafka_event_t *ev)
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

static void release_events(struct kafka_stream *s)
{
    struct event **const all[] = {&s->wake, &s->more, &s->sweep};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        if (*all[i])
            event_free(*all[i]);
        *all[i] = NULL;
    }
    told_release(&s->told);
    if (s->wake_fd >= 0)
        close(s->wake_fd);
    s->wake_fd = -1;
}

/* Polls until the queue is empty (the eventfd is written to only when it turns from empty to
 * non-empty) or the turn is over; then a timer of zero comes back here after the loop has looked at
 * everything else. */
static void serve(struct kafka_stream *s)
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
    if (s->served_is_old)
        reaper_take(&s->common->reaper, c);
    if (!s->open) {
        release_events(s); /* nothing of `s` is looked at behind this */
    } else if (taken >= REPORTS_PER_TURN || s->served_is_old) {
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

/* After a fatal error librdkafka sends nothing more and purges its queues once. A batch that was in
 * flight then and is answered with "out of order" goes back to its queue and would stay there
 * without a report for ever (seen); the relay would wait in vain for it. What is still in flight is
 * left to its answer. */
static void on_sweep(evutil_socket_t fd, short what, void *arg)
{
    struct kafka_stream *s = arg;
    (void)fd;
    (void)what;
    if (s->client)
        rd_kafka_purge(s->client->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_NON_BLOCKING);
}

/* ---- ops ------------------------------------------------------------------------------------- */

void kafka_stream_topic(struct kafka_stream *s, uint32_t topic, const char *name)
{
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

int32_t kafka_stream_partitions(const struct kafka_stream *s, uint32_t topic)
{
    return s->client ? client_partitions(s->client, topic) : 0;
}

static int refuse_now(rd_kafka_resp_err_t code, struct kafka_stream *s, const char *topic,
                      struct send_refusal *why)
{
    char fatal[384];
    why->cause = kafka_refusal(code);
    if (code == RD_KAFKA_RESP_ERR__FATAL && rd_kafka_fatal_error(s->client->rk, NULL, 0)) {
        why->cause = cause_of_end(s->client->rk, fatal, sizeof(fatal));
        err_set(&why->err, ERR_UNAVAILABLE, "topic %s: %s", topic, fatal);
    } else {
        err_set(&why->err, ERR_UNAVAILABLE, "topic %s: %s", topic, rd_kafka_err2str(code));
    }
    return -EIO;
}

int kafka_stream_send(struct kafka_stream *s, const struct sending *to, const struct message *m,
                      struct send_refusal *why)
{
    uint32_t topic = to->topic;
    why->cause = REFUSAL_PRODUCER_FATAL;
    if (!s->client) {
        err_set(&why->err, ERR_UNAVAILABLE, "there is no producer at present");
        return -ENOTCONN;
    }
    assert(topic < s->topic_count && s->topic_names[topic]);
    const char *name = s->topic_names[topic];
    if (to->partition > OPAQUE_PARTITION_MAX) {
        err_set(&why->err, ERR_SOFTWARE, "topic %s: partition %d is beyond what can be sent", name,
                (int)to->partition);
        return -EINVAL;
    }
    rd_kafka_topic_t *rkt = client_topic(s->client, topic, name, &why->err);
    if (!rkt)
        return -EIO;
    if (to->seq > s->newest_seq)
        s->newest_seq = to->seq;
    rd_kafka_resp_err_t code =
        record_produce(s->client->rk, rkt, m, NULL, client_opaque(to->seq, to->partition));
    if (!code)
        return 0;
    if (code == RD_KAFKA_RESP_ERR__QUEUE_FULL)
        return -EAGAIN;
    return refuse_now(code, s, name, why);
}

/* Nothing of the present client is reported after this, and it sends nothing more. */
static void discard(struct kafka_stream *s)
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
        reaper_take(&s->common->reaper, old);
}

static int open_stream(struct kafka_stream *s, struct err *err)
{
    struct event_base *base = s->common->base;
    if (s->open)
        return 0;
    if (s->wake) { /* closed from inside a report, whose end would have released it */
        s->open = true;
        return 0;
    }
    s->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (s->wake_fd < 0)
        return err_set(err, ERR_UNAVAILABLE, "eventfd: %s", strerror(errno));
    s->wake = event_new(base, s->wake_fd, EV_READ | EV_PERSIST, on_wake, s);
    s->more = evtimer_new(base, on_more, s);
    s->sweep = event_new(base, -1, EV_PERSIST, on_sweep, s);
    if (told_init(&s->told, base) != 0 || !s->wake || !s->more || !s->sweep ||
        event_add(s->wake, NULL) < 0) {
        release_events(s);
        return err_set(err, ERR_SOFTWARE, "watch the producer: out of memory");
    }
    s->open = true;
    return 0;
}

/* Main's reset finds room even when the producers of lanes do not end. */
static bool has_room(struct kafka_stream *s)
{
    int room = reaper_room(&s->common->reaper);
    if (s->served_is_old && s->served)
        room--; /* it will need one, too */
    return room >= (s->number == MAIN_STREAM ? 0 : REAPER_GRAVES_OF_MAIN);
}

int kafka_stream_reset(struct kafka_stream *s, struct err *err)
{
    discard(s);
    if (!has_room(s))
        return err_set(
            err, ERR_UNAVAILABLE,
            "replace the producer: earlier ones have not ended yet (at most %d may be ending)",
            REAPER_GRAVES);
    if (open_stream(s, err) != 0)
        return -1;
    told_forget(&s->told);
    s->client = client_new(s->common->conf, s->wake_fd, err);
    if (!s->client)
        return -1;
    for (size_t i = 0; i < s->topic_count; i++) {
        if (s->topic_names[i])
            kafka_stream_topic(s, (uint32_t)i, s->topic_names[i]);
    }
    return 0;
}

void kafka_stream_close(struct kafka_stream *s)
{
    discard(s);
    for (size_t i = 0; i < s->topic_count; i++)
        free(s->topic_names[i]);
    free(s->topic_names);
    s->topic_names = NULL;
    s->topic_count = 0;
    s->newest_seq = 0;
    if (!s->open)
        return;
    s->open = false;
    if (!s->served)
        release_events(s);
}

bool kafka_stream_diagnose(struct kafka_stream *s, const struct sending *what, struct err *err,
                           enum refusal *cause)
{
    uint32_t topic = what->topic;
    rd_kafka_topic_t *rkt = NULL;
    char fatal[384];
    if (!s->client)
        return false;
    if (rd_kafka_fatal_error(s->client->rk, NULL, 0)) {
        *cause = cause_of_end(s->client->rk, fatal, sizeof(fatal));
        err_set(err, ERR_UNAVAILABLE, "%s", fatal);
        return true;
    }
    if (topic != UINT32_MAX) {
        if (topic >= s->topic_count || !s->topic_names[topic])
            return false;
        rkt = client_topic(s->client, topic, s->topic_names[topic], err);
        if (!rkt)
            return false;
    }
    bool learnt = diagnose(s->client->rk, rkt, what->partition, s->common->brokers, err, cause);
    if (!learnt || *cause != REFUSAL_BROKER_UNREACHABLE) {
        told_answered(&s->told);
    } else if (s->told.denied[0]) {
        *cause = REFUSAL_AUTHENTICATION;
        err_set(err, ERR_UNAVAILABLE, "%s", s->told.denied);
    }
    return learnt;
}
