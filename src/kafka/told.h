/* What is known from errors that come without a message, so that each is told once, and the one
 * that says why stays: when brokers refuse our credentials, librdkafka says so at most every 30 s
 * for each broker, and in between only that none can be reached. */
#ifndef OUTBOXD_KAFKA_TOLD_H
#define OUTBOXD_KAFKA_TOLD_H

#include "base/err.h"

#include <event2/event.h>
#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stddef.h>

#define TOLD_CODES 8

struct told {
    rd_kafka_resp_err_t codes[TOLD_CODES];
    size_t count;
    struct event *again;    /* pending: not yet again */
    struct event *doubtful; /* pending: what `denied` says is fresh */
    char denied[512];       /* why brokers refuse us; "": they do not */
};

NODISCARD int told_init(struct told *t, struct event_base *base); /* release it in any case */
void told_release(struct told *t);

/* Whether that code was told already; from now on it was. It is told again after ten seconds, and
 * only if a message was acknowledged in between. */
bool told_before(struct told *t, rd_kafka_resp_err_t code);
void told_acked(struct told *t);  /* a message was */
void told_forget(struct told *t); /* a new producer tells its own */

/* Brokers refuse the credentials: true for a minute after they last said so, and until one of them
 * answers. */
void told_deny(struct told *t, const char *why);
void told_answered(struct told *t);

#endif
