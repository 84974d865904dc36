/* First every topic is asked for its partitions, and every partition for its ends; then all are
 * read at once into one queue. A partition is done with its last offset before the end, or when
 * librdkafka says that it has reached the end (the last offsets may have no records).
 *
 * Failure: errors of single requests are librdkafka's to repeat. We give up when nothing comes for
 * SILENCE_MS, with the last error that was told. Time is the sum of the pauses in which we wait.
 *
 * Memory: librdkafka's queue is short. When it is full, the broker's thread sleeps for a second
 * (2.0.2) and does not notice that we have emptied it: any request wakes it, see `wake`. */
#include "kafka/scan.h"

#include "kafka/errors.h"
#include "message/message.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PAUSE_MS = 100,
    EMPTY_MS = 4,
    WAKE_MS = 1000,
    SILENCE_MS = 60000,
    METADATA_TRIES = 50,
    ANSWER_MS = 10000,
    PROGRESS_RECORDS = 2048,
};

struct scan_topic {
    rd_kafka_topic_t *rkt;
    struct scan_partition *partitions;
    int32_t partition_count;
    size_t number;
};

struct scan_partition {
    int64_t start;
    int64_t next;
    int64_t end;
    bool reading;
};

struct scan {
    const struct scan_params *params;
    rd_kafka_t *rk;
    rd_kafka_queue_t *events;
    rd_kafka_queue_t *records;
    struct scan_topic *topics;
    size_t unfinished;      /* partitions */
    size_t partition_total; /* and topics without any */
    size_t wake_topic;      /* whose broker is woken next */
    int32_t wake_partition;
    int64_t read;
    int64_t total;
    char trouble[256]; /* the last error that was told; "" none */
};

/* ---- errors ---------------------------------------------------------------------------------- */

static int refused(const char *what, rd_kafka_resp_err_t code, struct err *err)
{
    enum refusal why = kafka_refusal(code);

    if (why == REFUSAL_TOPIC_FORBIDDEN)
        return err_problem(err, ERR_CONFIG, PROBLEM_TOPIC_UNREADABLE,
                           "topic %s: %s; grant the principal READ and DESCRIBE on the topic", what,
                           rd_kafka_err2str(code));
    return err_problem(err, ERR_UNAVAILABLE, refusal_problem(why), "%s: %s", what,
                       rd_kafka_err2str(code));
}

/* Errors and log lines; the errors are kept for the case that we give up. */
static void take_events(struct scan *s, int wait_ms)
{
    rd_kafka_event_t *ev;

    while ((ev = rd_kafka_queue_poll(s->events, wait_ms)) != NULL) {
        if (rd_kafka_event_type(ev) == RD_KAFKA_EVENT_ERROR &&
            (rd_kafka_event_error(ev) != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN ||
             s->trouble[0] == '\0'))
            (void)snprintf(s->trouble, sizeof s->trouble, "%s", rd_kafka_event_error_string(ev));
        rd_kafka_event_destroy(ev);
        wait_ms = 0;
    }
}

static int silent(struct scan *s, const char *what, struct err *err)
{
    take_events(s, 0);
    return err_problem(err, ERR_UNAVAILABLE, PROBLEM_BROKER_UNREACHABLE,
                       "%s: no answer from the brokers %s%s%s", what, s->params->kafka->brokers,
                       s->trouble[0] == '\0' ? "" : ": ", s->trouble);
}

/* ---- what there is to read ------------------------------------------------------------------- */

/* The leader is on its way: elections, and topics that were created a moment ago. */
static bool moves(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION ||
           code == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE ||
           code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
}

/* Whether a request that failed may be sent again; waits a little before. */
static bool try_again(struct scan *s, int *tries)
{
    if (++*tries == METADATA_TRIES)
        return false;
    take_events(s, PAUSE_MS);
    return true;
}

/* How many partitions the topic has, 0: it does not exist. */
static int ask_topic(struct scan *s, const struct scan_topic *t, int32_t *partitions,
                     struct err *err)
{
    const char *name = s->params->topics[t->number];
    rd_kafka_resp_err_t code;
    int tries = 0;

    do {
        const struct rd_kafka_metadata *md;

        code = rd_kafka_metadata(s->rk, 0, t->rkt, &md, ANSWER_MS);
        if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
            continue;
        code = md->topic_cnt == 1 ? md->topics[0].err : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
        *partitions = md->topic_cnt == 1 ? md->topics[0].partition_cnt : 0;
        rd_kafka_metadata_destroy(md);
    } while (code == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE && try_again(s, &tries));
    if (code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
        *partitions = 0;
    else if (code == RD_KAFKA_RESP_ERR__TRANSPORT || code == RD_KAFKA_RESP_ERR__TIMED_OUT)
        return silent(s, name, err);
    else if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return refused(name, code, err);
    return 0;
}

/* Where the first record with that time lies, for all partitions in one request. */
static int ask_starts(struct scan *s, struct scan_topic *t, struct err *err)
{
    const char *name = s->params->topics[t->number];
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(t->partition_count);
    rd_kafka_resp_err_t code;
    int tries = 0;
    int rc = 0;

    for (int32_t p = 0; p < t->partition_count; p++)
        (void)rd_kafka_topic_partition_list_add(list, name, p);
    do {
        for (int i = 0; i < list->cnt; i++) /* an answer takes the place of the question */
            list->elems[i].offset = s->params->since_us < 0 ? 0 : s->params->since_us / 1000;
        code = rd_kafka_offsets_for_times(s->rk, list, ANSWER_MS);
        for (int i = 0; code == RD_KAFKA_RESP_ERR_NO_ERROR && i < list->cnt; i++)
            code = list->elems[i].err;
    } while (moves(code) && try_again(s, &tries));
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        rc = refused(name, code, err);
    for (int i = 0; rc == 0 && i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *found = &list->elems[i];
        struct scan_partition *p = &t->partitions[found->partition];

        if (found->offset < 0 || found->offset > p->end) /* none that new */
            p->start = p->end;
        else if (found->offset > p->start)
            p->start = found->offset;
    }
    rd_kafka_topic_partition_list_destroy(list);
    return rc;
}

static int ask_partitions(struct scan *s, struct scan_topic *t, struct err *err)
{
    const char *name = s->params->topics[t->number];
    int64_t *lows = xcalloc((size_t)t->partition_count, sizeof *lows);
    int rc = 0;

    for (int32_t i = 0; rc == 0 && i < t->partition_count; i++) {
        struct scan_partition *p = &t->partitions[i];
        rd_kafka_resp_err_t code;
        int tries = 0;

        do
            code = rd_kafka_query_watermark_offsets(s->rk, name, i, &lows[i], &p->end, ANSWER_MS);
        while (moves(code) && try_again(s, &tries));
        if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
            rc = refused(name, code, err);
        p->start = lows[i];
    }
    if (rc == 0 && s->params->since_us != SCAN_NO_TIME)
        rc = ask_starts(s, t, err);
    for (int32_t i = 0; rc == 0 && i < t->partition_count; i++) {
        struct scan_partition *p = &t->partitions[i];

        p->next = p->start;
        s->total += p->end - p->start;
        s->params->partition(s->params->ctx, t->number, i, lows[i], p->start, p->end);
    }
    free(lows);
    return rc;
}

static int open_topic(struct scan *s, struct scan_topic *t, struct err *err)
{
    rd_kafka_topic_conf_t *conf = rd_kafka_default_topic_conf_dup(s->rk);

    rd_kafka_topic_conf_set_opaque(conf, t);
    t->rkt = rd_kafka_topic_new(s->rk, s->params->topics[t->number], conf);
    if (t->rkt == NULL)
        return err_set(err, ERR_USAGE, "topic %s: %s", s->params->topics[t->number],
                       rd_kafka_err2str(rd_kafka_last_error()));
    if (ask_topic(s, t, &t->partition_count, err) != 0)
        return -1;
    t->partitions = xcalloc((size_t)t->partition_count, sizeof t->partitions[0]);
    s->partition_total += (size_t)t->partition_count + 1;
    s->params->topic(s->params->ctx, t->number, t->partition_count);
    return ask_partitions(s, t, err);
}

/* ---- reading --------------------------------------------------------------------------------- */

static int start_reading(struct scan *s, struct err *err)
{
    for (size_t i = 0; i < s->params->topic_count; i++) {
        struct scan_topic *t = &s->topics[i];

        for (int32_t p = 0; p < t->partition_count; p++) {
            if (t->partitions[p].start >= t->partitions[p].end)
                continue;
            if (rd_kafka_consume_start_queue(t->rkt, p, t->partitions[p].start, s->records) != 0)
                return refused(s->params->topics[i], rd_kafka_last_error(), err);
            t->partitions[p].reading = true;
            s->unfinished++;
        }
    }
    return 0;
}

static void finish_partition(struct scan *s, struct scan_topic *t, int32_t number)
{
    struct scan_partition *p = &t->partitions[number];

    if (!p->reading)
        return;
    s->read += p->end - p->next;
    p->reading = false;
    s->unfinished--;
    (void)rd_kafka_consume_stop(t->rkt, number);
}

/* The first header of each name counts, as consumers that ask for one take it. */
static void take_headers(struct scan_record *r, const rd_kafka_message_t *m)
{
    rd_kafka_headers_t *headers;
    const char *name;
    const void *value;
    size_t len;

    if (rd_kafka_message_headers(m, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return;
    for (size_t i = 0;
         rd_kafka_header_get_all(headers, i, &name, &value, &len) == RD_KAFKA_RESP_ERR_NO_ERROR;
         i++) {
        struct slice text = {.ptr = value, .len = len};

        if (r->event_id.ptr == NULL && strcmp(name, HEADER_EVENT_ID) == 0)
            r->event_id = text;
        else if (r->event_type.ptr == NULL && strcmp(name, HEADER_EVENT_TYPE) == 0)
            r->event_type = text;
        else if (r->event_time.ptr == NULL && strcmp(name, HEADER_EVENT_TIME) == 0)
            r->event_time = text;
        else if (strcmp(name, HEADER_REPLAY) == 0)
            r->replayed = true;
    }
}

static int take_record(struct scan *s, struct scan_topic *t, const rd_kafka_message_t *m,
                       struct err *err)
{
    struct scan_partition *p = &t->partitions[m->partition];
    struct scan_record r = {.topic = t->number,
                            .partition = m->partition,
                            .offset = m->offset,
                            .key = {.ptr = m->key, .len = m->key_len}};
    rd_kafka_timestamp_type_t kind;
    int64_t ms = rd_kafka_message_timestamp(m, &kind);

    if (!p->reading)
        return 0;
    if (m->offset < p->end) {
        r.timestamp_us =
            kind == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE || ms < 0 ? SCAN_NO_TIME : ms * 1000;
        take_headers(&r, m);
        if (s->params->record(s->params->ctx, &r, err) != 0)
            return -1;
        s->read += m->offset + 1 - p->next;
        p->next = m->offset + 1;
    }
    if (m->offset + 1 >= p->end)
        finish_partition(s, t, m->partition);
    return 0;
}

static int take_message(struct scan *s, const rd_kafka_message_t *m, struct err *err)
{
    struct scan_topic *t = m->rkt == NULL ? NULL : rd_kafka_topic_opaque(m->rkt);

    if (t == NULL)
        return 0;
    switch (m->err) {
    case RD_KAFKA_RESP_ERR_NO_ERROR:
        return take_record(s, t, m, err);
    case RD_KAFKA_RESP_ERR__PARTITION_EOF:
        if (m->offset >= t->partitions[m->partition].end)
            finish_partition(s, t, m->partition);
        return 0;
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
        return refused(s->params->topics[t->number], m->err, err);
    default: /* of a request, which librdkafka sends again */
        (void)snprintf(s->trouble, sizeof s->trouble, "%s [%d]: %s", s->params->topics[t->number],
                       (int)m->partition, rd_kafka_message_errstr(m));
        return 0;
    }
}

/* The queue is empty: makes the next unfinished partition's broker look whether it may fetch again.
 * Returns the milliseconds that passed without an answer. */
static int wake(struct scan *s)
{
    for (size_t looked = 0; looked <= s->partition_total; looked++) {
        struct scan_topic *t = &s->topics[s->wake_topic];
        int32_t number = s->wake_partition;
        int64_t low;
        int64_t high;

        if (++s->wake_partition >= t->partition_count) {
            s->wake_partition = 0;
            s->wake_topic = (s->wake_topic + 1) % s->params->topic_count;
        }
        if (number >= t->partition_count || !t->partitions[number].reading)
            continue;
        if (rd_kafka_query_watermark_offsets(s->rk, s->params->topics[t->number], number, &low,
                                             &high, WAKE_MS) == RD_KAFKA_RESP_ERR__TIMED_OUT)
            return WAKE_MS;
        return 0;
    }
    return 0;
}

static int read_all(struct scan *s, struct err *err)
{
    int64_t told = 0;
    int silent_ms = 0;

    while (s->unfinished > 0) {
        rd_kafka_message_t *m = rd_kafka_consume_queue(s->records, EMPTY_MS);
        int rc = 0;

        if (m != NULL) {
            silent_ms = m->err == RD_KAFKA_RESP_ERR_NO_ERROR ? 0 : silent_ms;
            rc = take_message(s, m, err);
            rd_kafka_message_destroy(m);
        } else {
            silent_ms += EMPTY_MS + wake(s);
            if (silent_ms >= SILENCE_MS)
                rc = silent(s, "read the topics", err);
        }
        if (rc != 0)
            return -1;
        if (m == NULL || s->read - told >= PROGRESS_RECORDS) {
            told = s->read;
            take_events(s, 0);
            s->params->progress(s->params->ctx, s->read, s->total);
        }
    }
    return 0;
}

/* ---- beginning and end ----------------------------------------------------------------------- */

static int open_scan(struct scan *s, struct err *err)
{
    rd_kafka_conf_t *conf = kafka_scan_conf_new(s->params->kafka, err);
    char text[512] = "";

    if (conf == NULL)
        return -1;
    s->rk = kafka_handle_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
    if (s->rk == NULL) {
        rd_kafka_conf_destroy(conf);
        return err_problem(err, ERR_CONFIG, PROBLEM_CONFIGURATION,
                           "kafka.properties: no consumer can be made of them: %s", text);
    }
    s->events = rd_kafka_queue_get_main(s->rk);
    rd_kafka_set_log_queue(s->rk, s->events);
    s->records = rd_kafka_queue_new(s->rk);
    return 0;
}

static void close_scan(struct scan *s)
{
    for (size_t i = 0; i < s->params->topic_count; i++) {
        struct scan_topic *t = &s->topics[i];

        for (int32_t p = 0; p < t->partition_count; p++)
            if (t->partitions != NULL && t->partitions[p].reading)
                (void)rd_kafka_consume_stop(t->rkt, p);
        if (t->rkt != NULL)
            rd_kafka_topic_destroy(t->rkt);
        free(t->partitions);
    }
    free(s->topics);
    if (s->rk == NULL)
        return;
    rd_kafka_queue_destroy(s->records);
    rd_kafka_queue_destroy(s->events);
    rd_kafka_destroy(s->rk);
    (void)malloc_trim(0); /* what librdkafka's threads had is not given back by itself */
}

int kafka_scan(const struct scan_params *params, struct err *err)
{
    struct scan s = {.params = params,
                     .topics = xcalloc(params->topic_count, sizeof(struct scan_topic))};
    int rc = open_scan(&s, err);

    for (size_t i = 0; rc == 0 && i < params->topic_count; i++) {
        s.topics[i].number = i;
        rc = open_topic(&s, &s.topics[i], err);
    }
    if (rc == 0)
        rc = start_reading(&s, err);
    if (rc == 0)
        rc = read_all(&s, err);
    if (rc == 0)
        params->progress(params->ctx, s.read, s.total);
    close_scan(&s);
    return rc;
}
