#include "inbox/dead.h"

#include "base/clock.h"
#include "inbox/fault.h"
#include "kafka/config.h"
#include "message/message.h"

#include <stdio.h>
#include <string.h>

#define PURGE_MS   1000 /* for the reports of a producer that is thrown away */
#define EXPLAIN_MS 500

/* The broker is the judge of sizes, and a record that came from one fits again. */
#define MAX_RECORD_BYTES (256U << 20)

struct dead {
    rd_kafka_conf_t *conf;
    rd_kafka_t *rk; /* NULL: none at present */
    rd_kafka_queue_t *queue;
    int wake_fd;
    bool spoilt; /* a message has failed: the next one gets a new producer */
    struct say *say;
    struct dead_letter *pending;
};

struct dead_letter {
    struct dead *dead; /* NULL once its report is in */
    struct dead_letter *next;
    enum letter_state state;
    bool dropped; /* nobody waits for it any more */
    char why[256];
};

/* ---- the producer ---------------------------------------------------------------------------- */

struct dead *dead_new(const struct inbox_params *params, int wake_fd, struct say *say,
                      struct inbox_error *e)
{
    struct kafka_pair *pairs = xcalloc(params->property_count, sizeof *pairs);
    const struct kafka_sink_params sink = {.brokers = params->brokers,
                                           .client_id = params->consumer,
                                           .properties = pairs,
                                           .property_count = params->property_count,
                                           .window_events = 100000,
                                           .window_bytes = 64U << 20,
                                           .max_event_bytes = MAX_RECORD_BYTES};
    struct dead *d = xcalloc(1, sizeof *d);
    struct err err = {0};
    char text[256];

    for (size_t i = 0; i < params->property_count; i++)
        pairs[i] = (struct kafka_pair){params->properties[i].name, params->properties[i].value};
    d->wake_fd = wake_fd;
    d->say = say;
    d->conf = kafka_conf_new(&sink, &err);
    free(pairs);
    if (d->conf == NULL || rd_kafka_conf_set(d->conf, "partitioner", "murmur2_random", text,
                                             sizeof text) != RD_KAFKA_CONF_OK) {
        fault_set(e, INBOX_E_CONFIG, "for the dead-letter producer: %s",
                  d->conf == NULL ? err.text : text);
        dead_free(d);
        return NULL;
    }
    return d;
}

static int open_producer(struct dead *d, struct inbox_error *e)
{
    static const uint64_t token = 1;
    rd_kafka_conf_t *copy = rd_kafka_conf_dup(d->conf);
    char text[256] = "";

    d->rk = kafka_handle_new(RD_KAFKA_PRODUCER, copy, text, sizeof text);
    if (d->rk == NULL) {
        rd_kafka_conf_destroy(copy);
        return fault_set(e, INBOX_E_KAFKA, "dead-letter producer: %s", text);
    }
    d->queue = rd_kafka_queue_get_main(d->rk);
    (void)rd_kafka_set_log_queue(d->rk, d->queue);
    rd_kafka_queue_io_event_enable(d->queue, d->wake_fd, &token, sizeof token);
    d->spoilt = false;
    return 0;
}

static void unlink_letter(struct dead *d, struct dead_letter *letter)
{
    struct dead_letter **at = &d->pending;

    while (*at != letter)
        at = &(*at)->next;
    *at = letter->next;
}

/* It is in no list any more. */
static void settle(struct dead_letter *letter, enum letter_state state, const char *why)
{
    letter->dead = NULL;
    letter->state = state;
    (void)snprintf(letter->why, sizeof letter->why, "%s", why);
    if (letter->dropped)
        free(letter);
}

static void take_reports(struct dead *d, rd_kafka_event_t *event)
{
    const rd_kafka_message_t *m;

    while ((m = rd_kafka_event_message_next(event)) != NULL) {
        d->spoilt |= m->err != RD_KAFKA_RESP_ERR_NO_ERROR;
        unlink_letter(d, m->_private);
        settle(m->_private, m->err == RD_KAFKA_RESP_ERR_NO_ERROR ? LETTER_ACKED : LETTER_FAILED,
               rd_kafka_err2str(m->err));
    }
}

static void take_event(struct dead *d, rd_kafka_event_t *event)
{
    const char *facility;
    const char *text;
    int level;

    switch (rd_kafka_event_type(event)) {
    case RD_KAFKA_EVENT_DR:
        take_reports(d, event);
        break;
    case RD_KAFKA_EVENT_ERROR:
        d->spoilt |= rd_kafka_event_error(event) == RD_KAFKA_RESP_ERR__FATAL;
        say_folded(d->say, INBOX_LOG_WARN, "dead-letter producer",
                   rd_kafka_event_error_string(event));
        break;
    case RD_KAFKA_EVENT_LOG:
        if (rd_kafka_event_log(event, &facility, &text, &level) == 0)
            say_folded(d->say,
                       strcmp(facility, "CONFWARN") == 0 || level > 4 ? INBOX_LOG_DEBUG
                                                                      : INBOX_LOG_WARN,
                       "dead-letter producer", text);
        break;
    default:
        break;
    }
}

void dead_poll(struct dead *d)
{
    rd_kafka_event_t *event;

    if (d->rk == NULL)
        return;
    while ((event = rd_kafka_queue_poll(d->queue, 0)) != NULL) {
        take_event(d, event);
        rd_kafka_event_destroy(event);
    }
}

/* Whatever it still has comes back as failed. */
static void close_producer(struct dead *d)
{
    const uint64_t end_ms = clock_now_ms() + PURGE_MS;
    rd_kafka_event_t *event;

    if (d->rk == NULL)
        return;
    rd_kafka_queue_io_event_enable(d->queue, -1, NULL, 0);
    (void)rd_kafka_purge(d->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    while (d->pending != NULL && clock_now_ms() < end_ms) {
        event = rd_kafka_queue_poll(d->queue, 10);
        if (event == NULL)
            continue;
        take_event(d, event);
        rd_kafka_event_destroy(event);
    }
    for (struct dead_letter *letter = d->pending, *next; letter != NULL; letter = next) {
        next = letter->next;
        settle(letter, LETTER_FAILED, "the producer was thrown away");
    }
    d->pending = NULL;
    rd_kafka_queue_destroy(d->queue);
    rd_kafka_destroy(d->rk);
    d->rk = NULL;
}

void dead_free(struct dead *d)
{
    if (d == NULL)
        return;
    close_producer(d);
    if (d->conf != NULL)
        rd_kafka_conf_destroy(d->conf);
    free(d);
}

/* ---- one letter ------------------------------------------------------------------------------ */

static void add_text(rd_kafka_headers_t *headers, const char *name, const char *value)
{
    (void)rd_kafka_header_add(headers, name, -1, value, (ssize_t)strlen(value));
}

static rd_kafka_headers_t *story(const struct inbox_event *event)
{
    rd_kafka_headers_t *h =
        event->headers != NULL ? rd_kafka_headers_copy(event->headers) : rd_kafka_headers_new(8);
    const int64_t timestamp_ms = inbox_event_timestamp_ms(event);
    char number[32];
    char time[MESSAGE_TIME_SIZE];

    add_text(h, "dlt-topic", inbox_event_topic(event));
    (void)snprintf(number, sizeof number, "%d", (int)inbox_event_partition(event));
    add_text(h, "dlt-partition", number);
    (void)snprintf(number, sizeof number, "%lld", (long long)inbox_event_offset(event));
    add_text(h, "dlt-offset", number);
    if (timestamp_ms >= 0) {
        (void)message_format_time(timestamp_ms * 1000, time);
        add_text(h, "dlt-timestamp", time);
    }
    add_text(h, "dlt-error-class", inbox_code_name(event->error->code));
    add_text(h, "dlt-error-text", event->error->text);
    (void)snprintf(number, sizeof number, "%d", event->attempt);
    add_text(h, "dlt-attempts", number);
    return h;
}

struct dead_letter *dead_send(struct dead *d, const struct inbox_event *event, const char *topic,
                              struct inbox_error *e)
{
    struct dead_letter *letter;
    rd_kafka_headers_t *headers;
    rd_kafka_resp_err_t code;

    if (d->spoilt)
        close_producer(d);
    if (d->rk == NULL && open_producer(d, e) != 0)
        return NULL;
    letter = xcalloc(1, sizeof *letter);
    headers = story(event);
    code =
        rd_kafka_producev(d->rk, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                          RD_KAFKA_V_KEY(event->record->key, event->record->key_len),
                          RD_KAFKA_V_VALUE(event->record->payload, event->record->len),
                          RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_OPAQUE(letter), RD_KAFKA_V_END);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        rd_kafka_headers_destroy(headers);
        free(letter);
        d->spoilt = true;
        fault_set(e, INBOX_E_KAFKA, "dead-letter topic %s: %s", topic, rd_kafka_err2str(code));
        return NULL;
    }
    letter->dead = d;
    letter->next = d->pending;
    d->pending = letter;
    return letter;
}

enum letter_state dead_letter_state(const struct dead_letter *letter, const char **why)
{
    *why = letter->why;
    return letter->state;
}

void dead_letter_drop(struct dead_letter *letter)
{
    if (letter->dead == NULL)
        free(letter);
    else
        letter->dropped = true;
}

void dead_explain(struct dead *d, const char *topic, char *text, size_t size)
{
    const struct rd_kafka_metadata *md = NULL;
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR__TRANSPORT;
    rd_kafka_topic_t *rkt;

    (void)snprintf(text, size, "no producer");
    if (d->rk == NULL)
        return;
    rkt = rd_kafka_topic_new(d->rk, topic, NULL);
    if (rkt == NULL) {
        (void)snprintf(text, size, "%s", rd_kafka_err2str(rd_kafka_last_error()));
        return;
    }
    code = rd_kafka_metadata(d->rk, 0, rkt, &md, EXPLAIN_MS);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR && md->topic_cnt == 1)
        code = md->topics[0].err;
    if (md != NULL)
        rd_kafka_metadata_destroy(md);
    rd_kafka_topic_destroy(rkt);
    if (code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
        (void)snprintf(text, size, "the topic does not exist: create it");
    else
        (void)snprintf(text, size, "%s",
                       code == RD_KAFKA_RESP_ERR_NO_ERROR ? "its brokers have not acknowledged yet"
                                                          : rd_kafka_err2str(code));
}
