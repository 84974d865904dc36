/* A message that waits for seconds has a reason that librdkafka keeps to itself: it retries.
 * Metadata tells it. */
#include "kafka/diagnose.h"

#include "kafka/errors.h"

enum { ANSWER_MS = 50 };

static bool blame_topic(const rd_kafka_metadata_topic_t *t, struct err *err, enum refusal *cause)
{
    *cause = kafka_refusal(t->err);
    err_set(err, ERR_UNAVAILABLE, "topic %s: %s", t->topic, rd_kafka_err2str(t->err));
    return true;
}

static bool blame_leaderless(const rd_kafka_metadata_topic_t *t,
                             const rd_kafka_metadata_partition_t *p, enum refusal why,
                             struct err *err, enum refusal *cause)
{
    rd_kafka_resp_err_t code = p->err ? p->err : RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE;
    *cause = why;
    err_set(err, ERR_UNAVAILABLE, "topic %s: partition %d has no leader (%s)", t->topic, (int)p->id,
            rd_kafka_err2str(code));
    return true;
}

/* A partition with fewer replicas in sync than it should have may take messages or not, as its
 * min.insync.replicas says; librdkafka tries again without a word. We are asked only when nothing
 * is acknowledged: then they are too few, or the leader has not noticed yet that one is gone. */
static bool is_thin(const rd_kafka_metadata_partition_t *p)
{
    return p->leader >= 0 && p->isr_cnt < p->replica_cnt;
}

static bool blame_thin(const rd_kafka_metadata_topic_t *t, const rd_kafka_metadata_partition_t *p,
                       struct err *err, enum refusal *cause)
{
    *cause = REFUSAL_NOT_ENOUGH_REPLICAS;
    err_set(err, ERR_UNAVAILABLE, "topic %s: partition %d has %d of %d replicas in sync", t->topic,
            (int)p->id, p->isr_cnt, p->replica_cnt);
    return true;
}

static bool learn_of_all(const rd_kafka_metadata_topic_t *t, struct err *err, enum refusal *cause)
{
    const rd_kafka_metadata_partition_t *thin = NULL;
    for (int i = 0; i < t->partition_cnt; i++) {
        const rd_kafka_metadata_partition_t *p = &t->partitions[i];
        if (p->leader < 0)
            return blame_leaderless(t, p, REFUSAL_BROKER_ERROR, err, cause);
        if (is_thin(p) && (!thin || p->isr_cnt < thin->isr_cnt))
            thin = p;
    }
    return thin && blame_thin(t, thin, err, cause);
}

/* Whether a partition without a leader is alone in that: another one has a leader, or none of those
 * that could lead it is there, while somebody answered us. Else the brokers may just be starting,
 * or choosing. */
static bool is_alone(const struct rd_kafka_metadata *md, const rd_kafka_metadata_partition_t *p)
{
    for (int t = 0; t < md->topic_cnt; t++)
        for (int i = 0; i < md->topics[t].partition_cnt; i++)
            if (md->topics[t].partitions[i].leader >= 0)
                return true;
    for (int i = 0; i < p->isr_cnt; i++)
        for (int b = 0; b < md->broker_cnt; b++)
            if (md->brokers[b].id == p->isrs[i])
                return false;
    return true;
}

static bool learn_of_one(const struct rd_kafka_metadata *md, int32_t partition, struct err *err,
                         enum refusal *cause)
{
    const rd_kafka_metadata_topic_t *t = &md->topics[0];
    for (int i = 0; i < t->partition_cnt; i++) {
        const rd_kafka_metadata_partition_t *p = &t->partitions[i];
        if (p->id != partition)
            continue;
        if (p->leader < 0)
            return blame_leaderless(
                t, p, is_alone(md, p) ? REFUSAL_PARTITION_GONE : REFUSAL_BROKER_ERROR, err, cause);
        return is_thin(p) && blame_thin(t, p, err, cause);
    }
    if (t->partition_cnt == 0)
        return false;
    *cause = REFUSAL_PARTITION_GONE;
    err_set(err, ERR_UNAVAILABLE, "topic %s: there is no partition %d, it has %d", t->topic,
            (int)partition, t->partition_cnt);
    return true;
}

/* The broker answers LEADER_NOT_AVAILABLE for a topic that it has just created by itself:
 * partitions tell more. */
bool diagnose_answer(const struct rd_kafka_metadata *md, int32_t partition, struct err *err,
                     enum refusal *cause)
{
    if (md->topic_cnt == 0)
        return false;
    const rd_kafka_metadata_topic_t *t = &md->topics[0];
    if (t->err && t->err != RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE)
        return blame_topic(t, err, cause);
    return partition < 0 ? learn_of_all(t, err, cause) : learn_of_one(md, partition, err, cause);
}

bool diagnose(rd_kafka_t *rk, rd_kafka_topic_t *rkt, int32_t partition, const char *brokers,
              struct err *err, enum refusal *cause)
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
    bool learnt = rkt && diagnose_answer(md, partition, err, cause);
    rd_kafka_metadata_destroy(md);
    return learnt;
}
