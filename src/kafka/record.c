#include "kafka/record.h"

#include <stdbool.h>
#include <string.h>

static bool add_header(rd_kafka_headers_t *headers, const struct message_header *h)
{
    return rd_kafka_header_add(headers, h->name.ptr, (ssize_t)h->name.len, h->value.ptr,
                               (ssize_t)h->value.len) == RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* NULL when there are none, or on error (*failed is set then). */
static rd_kafka_headers_t *make_headers(const struct message *m, const struct message_header *extra,
                                        bool *failed)
{
    rd_kafka_headers_t *headers;

    *failed = false;
    if (m->header_count == 0 && extra == NULL)
        return NULL;
    headers = rd_kafka_headers_new(m->header_count + 1);
    for (size_t i = 0; i < m->header_count; i++)
        *failed = *failed || !add_header(headers, &m->headers[i]);
    if (extra != NULL)
        *failed = *failed || !add_header(headers, extra);
    if (!*failed)
        return headers;
    rd_kafka_headers_destroy(headers);
    return NULL;
}

/* librdkafka wants pointers to void and, with F_COPY, writes to none of them. */
static void *without_const(const char *p)
{
    void *q;

    memcpy(&q, &p, sizeof q);
    return q;
}

/* On failure the headers stay ours. On success librdkafka has copied key and value, and owns the
 * headers. */
rd_kafka_resp_err_t record_produce(rd_kafka_t *rk, rd_kafka_topic_t *rkt, const struct message *m,
                                   const struct message_header *extra, void *opaque)
{
    bool failed;
    rd_kafka_headers_t *headers = make_headers(m, extra, &failed);
    void *key = without_const(m->key.ptr);
    void *value = without_const(m->value.ptr);
    rd_kafka_resp_err_t code;

    if (failed)
        return RD_KAFKA_RESP_ERR__INVALID_ARG;
    code =
        rd_kafka_producev(rk, RD_KAFKA_V_RKT(rkt), RD_KAFKA_V_PARTITION(RD_KAFKA_PARTITION_UA),
                          RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY(key, m->key.len),
                          RD_KAFKA_V_VALUE(value, m->value.len), RD_KAFKA_V_HEADERS(headers),
                          RD_KAFKA_V_OPAQUE(opaque), RD_KAFKA_V_END);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR && headers != NULL)
        rd_kafka_headers_destroy(headers);
    return code;
}
