/* Partitions come and go, stop and flow, and Kafka is told how far they are done.
 *
 * The rebalance callback runs within rd_kafka_consumer_poll, and that is called between
 * transactions only: a partition is given up when its work is committed or rolled back. What was
 * polled and not handled is dropped, and comes to the next member from the committed offset. */
#include "inbox/internal.h"

#include "base/clock.h"

#include <string.h>

#define SYNC_COMMIT_MS   3000   /* while giving partitions up; later the claims sort it out */
#define COMMIT_LOST_MS   120000 /* no answer for so long: none will come */
#define LEAVE_MS         6000
#define COMMIT_PAUSE_MS  1000 /* after a failed one */
#define HELD_BYTES_MAX   (4U << 20)
#define HELD_BATCHES_MAX 10U /* of one partition, while it waits */
#define SHORT_WAIT_MS    500

/* ---- offsets --------------------------------------------------------------------------------- */

/* Where the partitions are done beyond what Kafka was told; NULL: nowhere. */
static rd_kafka_topic_partition_list_t *dirty_offsets(struct inbox *in)
{
    rd_kafka_topic_partition_list_t *list = NULL;

    for (size_t i = 0; i < in->parts.count; i++) {
        struct part *part = in->parts.part[i];

        if (part->done == part->committed || part->done < 0)
            continue;
        if (list == NULL)
            list = rd_kafka_topic_partition_list_new((int)in->parts.count);
        rd_kafka_topic_partition_list_add(list, part->topic, part->partition)->offset = part->done;
        part->committed = part->done;
    }
    return list;
}

static void commit_failed(struct inbox *in, const char *why)
{
    in->counters.offset_commits_failed++;
    in->commit_wait_ms = clock_now_ms() + COMMIT_PAUSE_MS;
    for (size_t i = 0; i < in->parts.count; i++)
        in->parts.part[i]->committed = -1;
    say_folded(&in->say, INBOX_LOG_WARN,
               "offsets not committed; what they cover is known by its "
               "claims",
               why);
}

static void on_commit(rd_kafka_t *rk, rd_kafka_resp_err_t code,
                      rd_kafka_topic_partition_list_t *offsets, void *opaque)
{
    struct inbox *in = opaque;

    (void)rk;
    in->commit_sent_ms = 0;
    for (int i = 0; offsets != NULL && i < offsets->cnt && code == RD_KAFKA_RESP_ERR_NO_ERROR; i++)
        code = offsets->elems[i].err;
    if (code == RD_KAFKA_RESP_ERR__NO_OFFSET)
        return;
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        commit_failed(in, rd_kafka_err2str(code));
    else
        say_debug(&in->say, "phase offsets committed", LOG_END);
}

static bool is_under_way(const struct inbox *in, uint64_t now_ms)
{
    return in->commit_sent_ms != 0 && now_ms - in->commit_sent_ms < COMMIT_LOST_MS;
}

static void send_offsets(struct inbox *in, uint64_t now_ms)
{
    rd_kafka_topic_partition_list_t *list = dirty_offsets(in);
    rd_kafka_resp_err_t code;

    if (list == NULL)
        return;
    code = rd_kafka_commit_queue(in->rk, list, in->commits, on_commit, in);
    rd_kafka_topic_partition_list_destroy(list);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
        in->commit_sent_ms = now_ms;
    else
        commit_failed(in, rd_kafka_err2str(code));
}

void assign_commit(struct inbox *in, uint64_t now_ms)
{
    (void)rd_kafka_queue_poll_callback(in->commits, 0);
    if (in->commit_wait_ms <= now_ms && !is_under_way(in, now_ms))
        send_offsets(in, now_ms);
}

/* The one under way first: a broker that comes back can take two in the wrong order, and the older
 * would stand. */
static void commit_and_wait(struct inbox *in)
{
    const uint64_t end_ms = clock_now_ms() + SYNC_COMMIT_MS;

    for (int i = 0; i < 2; i++) {
        while (in->commit_sent_ms != 0 && clock_now_ms() < end_ms)
            (void)rd_kafka_queue_poll_callback(in->commits, 50);
        if (in->commit_sent_ms != 0)
            break;
        if (i == 0)
            send_offsets(in, clock_now_ms());
    }
    if (in->commit_sent_ms != 0)
        commit_failed(in, "no answer while partitions are given up");
    in->commit_sent_ms = 0;
}

/* ---- assignment ------------------------------------------------------------------------------ */

static void take(struct inbox *in, rd_kafka_topic_partition_list_t *list)
{
    rd_kafka_resp_err_t code;

    parts_clear(&in->parts); /* eager: there are none, but for a callback that was missed */
    for (int i = 0; i < list->cnt; i++)
        (void)parts_add(&in->parts, list->elems[i].topic, list->elems[i].partition);
    in->commit_wait_ms = 0;
    code = rd_kafka_assign(in->rk, list);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        say_error(&in->say, "the assignment is not taken", LOG_S("text", rd_kafka_err2str(code)));
}

static void give(struct inbox *in, rd_kafka_topic_partition_list_t *list, bool lost)
{
    if (!lost)
        commit_and_wait(in);
    /* A pause would outlive the assignment. */
    (void)rd_kafka_resume_partitions(in->rk, list);
    parts_clear(&in->parts);
    (void)rd_kafka_assign(in->rk, NULL);
}

static void on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t code,
                         rd_kafka_topic_partition_list_t *list, void *opaque)
{
    struct inbox *in = opaque;
    const bool lost = rd_kafka_assignment_lost(rk) != 0;

    in->counters.rebalances++;
    if (code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        say_info(&in->say, "partitions assigned", LOG_I("count", list->cnt));
        take(in, list);
    } else {
        say_info(
            &in->say, lost ? "partitions lost" : "partitions given up", LOG_I("count", list->cnt),
            LOG_S("error",
                  code == RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS ? NULL : rd_kafka_err2str(code)));
        give(in, list, lost);
    }
}

/* As events, not by rd_kafka_queue_poll_callback: that aborts the process when records which were
 * fetched and not polled lie in the queue (librdkafka 2.0.2). */
static void serve_close(struct inbox *in, rd_kafka_queue_t *queue)
{
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, 50);

    if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_REBALANCE)
        on_rebalance(in->rk, rd_kafka_event_error(event),
                     rd_kafka_event_topic_partition_list(event), in);
    rd_kafka_event_destroy(event);
}

/* rd_kafka_consumer_close would wait for ever for the answer to an offset commit of a broker that
 * is gone (librdkafka 2.0.2). */
void assign_leave(struct inbox *in)
{
    const uint64_t end_ms = clock_now_ms() + LEAVE_MS;
    rd_kafka_queue_t *queue = rd_kafka_queue_new(in->rk);
    rd_kafka_error_t *error = rd_kafka_consumer_close_queue(in->rk, queue);

    while (error == NULL && rd_kafka_consumer_closed(in->rk) == 0 && clock_now_ms() < end_ms)
        serve_close(in, queue);
    in->left = error == NULL && rd_kafka_consumer_closed(in->rk) != 0;
    if (!in->left)
        say_warn(&in->say, "the group could not be left in time, and will notice",
                 LOG_S("text", error == NULL ? NULL : rd_kafka_error_string(error)));
    if (error != NULL)
        rd_kafka_error_destroy(error);
    rd_kafka_queue_destroy(queue);
    parts_clear(&in->parts);
}

/* ---- flow ------------------------------------------------------------------------------------ */

/* What was read ahead is dropped by a pause, and it takes up to half a second (fetch.wait.max.ms)
 * until the first record comes after it: a short wait is not worth that. */
static bool waits_long(const struct inbox *in, const struct part *part, uint64_t now_ms)
{
    return in->db_down || part->wake_ms > now_ms + SHORT_WAIT_MS ||
           (part->letter != NULL && now_ms > part->letter_ms + SHORT_WAIT_MS);
}

static bool has_enough(const struct inbox *in, const struct part *part, uint64_t now_ms)
{
    const size_t most = (size_t)in->params.batch_size;

    if (!in->db_down && !part_waits(part, now_ms))
        return false;
    if (part->paused) /* not for every event that leaves it */
        return part->held > most / 2 || part->held_bytes > HELD_BYTES_MAX / 2;
    if (part->held_bytes >= HELD_BYTES_MAX || part->held >= HELD_BATCHES_MAX * most)
        return true;
    return part->held >= most && waits_long(in, part, now_ms);
}

void assign_flow(struct inbox *in, uint64_t now_ms)
{
    for (size_t i = 0; i < in->parts.count; i++) {
        struct part *part = in->parts.part[i];
        const bool pause = has_enough(in, part, now_ms);
        rd_kafka_topic_partition_list_t *list;

        if (pause == part->paused)
            continue;
        list = rd_kafka_topic_partition_list_new(1);
        (void)rd_kafka_topic_partition_list_add(list, part->topic, part->partition);
        if ((pause ? rd_kafka_pause_partitions(in->rk, list)
                   : rd_kafka_resume_partitions(in->rk, list)) == RD_KAFKA_RESP_ERR_NO_ERROR)
            part->paused = pause;
        rd_kafka_topic_partition_list_destroy(list);
    }
}

/* ---- what else librdkafka says --------------------------------------------------------------- */

/* What on_error tells, too, and warnings about properties that are for the other kind of client. */
static bool is_told_elsewhere(const char *facility)
{
    return strcmp(facility, "FAIL") == 0 || strcmp(facility, "ERROR") == 0 ||
           strcmp(facility, "MAXPOLL") == 0 || strcmp(facility, "CONFWARN") == 0;
}

static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    struct inbox *in = rd_kafka_opaque(rk);

    say_folded(&in->say,
               level > 5 || is_told_elsewhere(facility) ? INBOX_LOG_DEBUG : INBOX_LOG_WARN,
               "kafka client", text);
}

static void on_error(rd_kafka_t *rk, int code, const char *reason, void *opaque)
{
    struct inbox *in = opaque;
    struct inbox_error e;
    char text[256];

    if (code == RD_KAFKA_RESP_ERR__FATAL) {
        (void)rd_kafka_fatal_error(rk, text, sizeof text);
        fault_set(&e, INBOX_E_KAFKA, "Kafka: %s", text);
        settle_fatal(in, &e);
        return;
    }
    say_folded(&in->say, INBOX_LOG_WARN, "kafka", reason);
}

void assign_callbacks(rd_kafka_conf_t *conf)
{
    rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
    rd_kafka_conf_set_error_cb(conf, on_error);
    rd_kafka_conf_set_log_cb(conf, on_log);
}
