/* A message that waits for seconds has a reason that librdkafka keeps to itself: it retries.
 * Metadata tells it. */
#include "kafka/diagnose.h"

#include "kafka/errors.h"

enum { ANSWER_MS = 50 };

/* A partition with fewer replicas in sync than it should have may take messages or not, as its
 * min.insync.replicas says; librdkafka tries again without a word. We are asked only when nothing
 * is acknowledged: then they are too few, or the leader has not noticed yet that one is gone.
 *
 * The broker answers LEADER_NOT_AVAILABLE for a topic that it has just created by itself:
 * partitions tell more. */
static bool learn_from(const rd_kafka_metadata_topic_t *t, struct err *err, enum refusal *cause)
{
    const rd_kafka_metadata_partition_t *thin = NULL;
    if (t->err && t->err != RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE) {
        *cause = kafka_refusal(t->err);
        err_set(err, ERR_UNAVAILABLE, "topic %s: %s", t->topic, rd_kafka_err2str(t->err));
        return true;
    }
    for (int i = 0; i < t->partition_cnt; i++) {
        const rd_kafka_metadata_partition_t *p = &t->partitions[i];
        if (p->leader >= 0) {
            if (p->isr_cnt < p->replica_cnt && (!thin || p->isr_cnt < thin->isr_cnt))
                thin = p;
            continue;
        }
        rd_kafka_resp_err_t why = p->err ? p->err : RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE;
        *cause = REFUSAL_BROKER_ERROR;
        err_set(err, ERR_UNAVAILABLE, "topic %s: partition %d has no leader (%s)", t->topic,
                (int)p->id, rd_kafka_err2str(why));
        return true;
    }
    if (!thin)
        return false;
    *cause = REFUSAL_NOT_ENOUGH_REPLICAS;
    err_set(err, ERR_UNAVAILABLE, "topic %s: partition %d has %d of %d replicas in sync", t->topic,
            (int)thin->id, thin->isr_cnt, thin->replica_cnt);
    return true;
}

bool diagnose(rd_kafka_t *rk, rd_kafka_topic_t *rkt, const char *brokers, struct err *err,
              enum refusal *cause)
{
    const struct rd_kafka_metadata *md = NULL;
    rd_kafka_resp_err_t code = rd_kafka_metadata(rk, 0, rkt, &md, ANSWER_MS);
    if (code == RD_KAFKA_RESP_ERR__TRANSPORT || code == RD_KAFKA_RESP_ERR__TIMED_OUT) {
        *cause = REFUSAL_BROKER_UNREACHABLE;
        err_set(err, ERR_UNAVAILABLE, "no broker of %s answers (asked for %d ms)", brokers,
                ANSWER_MS);
        return true;
    }
    if (code) {
        *cause = kafka_refusal(code);
        if (rkt)
            err_set(err, ERR_UNAVAILABLE, "topic %s: %s", rd_kafka_topic_name(rkt),
                    rd_kafka_err2str(code));
        else
            err_set(err, ERR_UNAVAILABLE, "brokers %s: %s", brokers, rd_kafka_err2str(code));
        return true;
    }
    bool learnt = rkt && md->topic_cnt > 0 && learn_from(&md->topics[0], err, cause);
    rd_kafka_metadata_destroy(md);
    return learnt;
}
