/* An event in memory: the record, what was read from it, and how it fared. Hundreds of them wait
 * for a batch: what few events need is allocated when it is needed. */
#ifndef OUTBOXD_INBOX_EVENT_H
#define OUTBOXD_INBOX_EVENT_H

#include "inbox/format.h"
#include "inbox/uuid.h"

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdlib.h>

enum event_kind {
    EVENT_HANDLE, /* to be claimed and handled */
    EVENT_SKIP,   /* of a type that nobody asked for */
    EVENT_DEAD,   /* no event, or given up: `error` says why */
};

struct inbox_event {
    struct inbox_event *next; /* of its partition, in the order of offsets */
    rd_kafka_message_t *record;
    rd_kafka_headers_t *headers; /* the record's; NULL: none */
    enum event_kind kind;
    char id[INBOX_UUID_SIZE]; /* "" when it could not be read */
    const char *raw_id;       /* NULL like the others when absent; all lie in `texts` */
    const char *type;
    const char *source;
    const char *time;
    struct slice payload;
    int64_t written_us; /* what the window is about; WHEN_UNKNOWN */
    bool replay;
    bool alone;                /* in a transaction of its own: its batch has failed */
    bool may_be_recorded;      /* among the failures: those are cleared when it succeeds */
    int attempt;               /* of the handler, from 1; failures in a batch do not count */
    int conflicts;             /* since the last success or failure of the handler */
    uint64_t first_failed_ms;  /* 0: it has not */
    struct inbox_error *error; /* why it is EVENT_DEAD, or NULL */
    char *explained;           /* by inbox_explain, in the present attempt, or NULL */
    char texts[];
};

/* Takes the record over. An unreadable one becomes EVENT_DEAD. */
struct inbox_event *event_new(rd_kafka_message_t *record, struct format_reader *reader,
                              enum inbox_format format);
void event_free(struct inbox_event *event);

/* It is EVENT_DEAD from now on, because of that. */
void event_give_up(struct inbox_event *event, const struct inbox_error *why);

/* Forgets what the handler explained. */
void event_begin_attempt(struct inbox_event *event);

#endif
