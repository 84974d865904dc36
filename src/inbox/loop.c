/* The turn, and the descriptor that says when the next one is due.
 *
 * librdkafka writes to the eventfd when its queue turns from empty to non-empty; so the token is
 * taken before the queue is polled, and put back whenever the queue was left before it was empty. A
 * turn at least each second keeps the member in its group (max.poll.interval.ms). */
#include "inbox/internal.h"

#include "base/clock.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define TICK_MS         1000
#define DB_LATE_MS      100 /* it may be asked again, and nothing to ask it was there just now */
#define READY_BYTES_MAX (8U << 20)

static void ring(int fd)
{
    static const uint64_t one = 1;
    ssize_t written = write(fd, &one, sizeof one);

    (void)written; /* full: it rings anyhow */
}

static void quiet(int fd)
{
    uint64_t count;
    ssize_t got = read(fd, &count, sizeof count);

    (void)got; /* empty: that is what is wanted */
}

/* ---- records --------------------------------------------------------------------------------- */

static bool is_wanted(const struct inbox *in, const struct inbox_event *event)
{
    for (size_t i = 0; i < in->params.event_type_count; i++)
        if (event->type != NULL && strcmp(event->type, in->params.event_types[i]) == 0)
            return true;
    return in->params.event_type_count == 0;
}

static void accept_record(struct inbox *in, rd_kafka_message_t *m)
{
    struct part *part = parts_find(&in->parts, rd_kafka_topic_name(m->rkt), m->partition);
    struct inbox_event *event;

    if (part == NULL) { /* not ours any more */
        rd_kafka_message_destroy(m);
        return;
    }
    event = event_new(m, &in->reader, in->params.format);
    if (event->kind == EVENT_HANDLE && !is_wanted(in, event))
        event->kind = EVENT_SKIP;
    in->counters.received++;
    part_push(part, event);
}

static void accept_error(struct inbox *in, const rd_kafka_message_t *m)
{
    struct inbox_error e;

    if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
        return;
    if (m->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET) {
        fault_set(&e, INBOX_E_KAFKA,
                  "%s [%d]: no usable committed offset, and auto.offset.reset is error: %s",
                  m->rkt != NULL ? rd_kafka_topic_name(m->rkt) : "", (int)m->partition,
                  rd_kafka_message_errstr(m));
        settle_fatal(in, &e);
        return;
    }
    say_folded(&in->say, INBOX_LOG_WARN, "kafka", rd_kafka_message_errstr(m));
}

/* Polls until there is enough for a batch, or nothing more; true: there may be more. While the
 * database is away this goes on in small pieces, for the sake of the group: partitions that hold
 * enough are paused. */
static bool take_records(struct inbox *in, uint64_t now_ms)
{
    const size_t most = (size_t)in->params.batch_size;
    size_t bytes;
    size_t ready = batch_ready(in, now_ms, &bytes);
    size_t polls = in->db_down ? most / 4 + 1 : ready < most ? most - ready : 0;

    while (polls-- > 0 && bytes < READY_BYTES_MAX) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(in->rk, 0);

        if (m == NULL)
            return false;
        if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            bytes += m->len + m->key_len;
            accept_record(in, m);
        } else {
            accept_error(in, m);
            rd_kafka_message_destroy(m);
        }
    }
    return true;
}

/* ---- when the next turn is due --------------------------------------------------------------- */

static void sooner(uint64_t *at_ms, uint64_t candidate_ms)
{
    if (candidate_ms != 0 && candidate_ms < *at_ms)
        *at_ms = candidate_ms;
}

static void arm(struct inbox *in, bool at_once)
{
    const uint64_t now_ms = clock_now_ms();
    uint64_t at_ms = now_ms + TICK_MS;
    struct itimerspec when = {0};

    if (in->db_down)
        sooner(&at_ms, in->db_wake_ms > now_ms ? in->db_wake_ms : now_ms + DB_LATE_MS);
    if (in->fill_from_ms != 0)
        sooner(&at_ms, in->fill_from_ms + (uint64_t)in->params.batch_ms);
    for (size_t i = 0; i < in->parts.count; i++) {
        const struct part *part = in->parts.part[i];

        if (part->head != NULL)
            sooner(&at_ms, part->wake_ms);
    }
    if (at_once || at_ms <= now_ms) {
        ring(in->wake_fd);
        return;
    }
    when.it_value.tv_sec = (time_t)((at_ms - now_ms) / 1000);
    when.it_value.tv_nsec = (long)((at_ms - now_ms) % 1000 * 1000000);
    (void)timerfd_settime(in->timer_fd, 0, &when, NULL);
    in->timer_set = true;
}

/* ---- the turn -------------------------------------------------------------------------------- */

/* Is it time for a batch? A batch that may be filled up waits for batch_ms. */
static bool is_due(struct inbox *in, uint64_t now_ms)
{
    size_t bytes;
    const size_t ready = batch_ready(in, now_ms, &bytes);

    if (ready == 0 || (in->db_down && now_ms < in->db_wake_ms)) {
        in->fill_from_ms = 0;
        return false;
    }
    if (in->params.batch_ms > 0 && ready < in->limit && bytes < READY_BYTES_MAX) {
        if (in->fill_from_ms == 0)
            in->fill_from_ms = now_ms;
        if (now_ms < in->fill_from_ms + (uint64_t)in->params.batch_ms)
            return false;
    }
    in->fill_from_ms = 0;
    return true;
}

/* Pauses that are over. */
static void wake(const struct inbox *in, uint64_t now_ms)
{
    for (size_t i = 0; i < in->parts.count; i++)
        if (in->parts.part[i]->wake_ms <= now_ms)
            in->parts.part[i]->wake_ms = 0;
}

static void turn(struct inbox *in)
{
    uint64_t now_ms = clock_now_ms();
    bool more;
    bool ran = false;

    quiet(in->wake_fd);
    if (in->timer_set)
        quiet(in->timer_fd);
    in->timer_set = false;
    wake(in, now_ms);
    more = take_records(in, now_ms);
    settle_dead(in, now_ms);
    now_ms = clock_now_ms();
    if (in->final.code == INBOX_E_NONE && is_due(in, now_ms))
        ran = batch_turn(in, now_ms);
    now_ms = clock_now_ms();
    assign_commit(in, now_ms);
    assign_flow(in, now_ms);
    arm(in, more || ran);
}

void loop_finish(struct inbox *in)
{
    if (in->finished)
        return;
    in->finished = true;
    if (in->rk != NULL)
        assign_leave(in);
    dead_free(in->dead);
    in->dead = NULL;
    session_close(&in->db);
    if (in->left)
        say_info(&in->say, "left the group", LOG_END);
}

int inbox_process(struct inbox *inbox, struct inbox_error *error)
{
    fault_clear(error);
    if (inbox->inside)
        return fault_set(error, INBOX_E_ARGUMENT,
                         "inbox_process and inbox_run may not be called by the handler");
    inbox->inside = true;
    if (!inbox->finished && !atomic_load(&inbox->stopping))
        turn(inbox);
    if (atomic_load(&inbox->stopping) || inbox->final.code != INBOX_E_NONE)
        loop_finish(inbox);
    inbox->inside = false;
    if (inbox->final.code != INBOX_E_NONE)
        return fault_set(error, inbox->final.code, "%s", inbox->final.text);
    return inbox->finished ? 1 : 0;
}

int inbox_run(struct inbox *inbox, struct inbox_error *error)
{
    struct pollfd fd = {.fd = inbox->epoll_fd, .events = POLLIN};
    int rc;

    while ((rc = inbox_process(inbox, error)) == 0)
        (void)poll(&fd, 1, TICK_MS);
    return rc < 0 ? -1 : 0;
}

int inbox_fd(const struct inbox *inbox)
{
    return inbox->epoll_fd;
}

void inbox_stop(struct inbox *inbox)
{
    const int saved = errno;

    atomic_store(&inbox->stopping, true);
    ring(inbox->stop_fd);
    errno = saved;
}
