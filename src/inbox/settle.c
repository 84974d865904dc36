/* What becomes of an event that failed:
 *
 * - Another try, refused work: after a pause, max_attempts times; its partition waits, others do
 *   not.
 * - Conflict: after a short pause, until budget_ms is over; then the consumer stops.
 * - Outage of the database: everything waits, as long as it takes.
 * - Rejected, too old, given up, malformed: to the dead-letter topic; its partition waits for the
 *   ack.
 *
 * The head of a partition stays its head in all of this: order is kept by waiting. */
#include "inbox/internal.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>

#define DB_PAUSE_MIN_MS   100U
#define DB_PAUSE_MAX_MS   5000U
#define CONFLICT_MIN_MS   5
#define CONFLICT_MAX_MS   1000
#define DEAD_AGAIN_MS     1000
#define DEAD_EXPLAIN_MS   2000
#define DEAD_EXPLAIN_EACH 5000

#define WHERE(event)                                                                               \
    LOG_S("topic", inbox_event_topic(event)), LOG_I("partition", inbox_event_partition(event)),    \
        LOG_I("offset", inbox_event_offset(event)),                                                \
        LOG_S("event_id", (event)->id[0] == '\0' ? NULL : (event)->id)

/* ---- the database as a whole ----------------------------------------------------------------- */

void settle_outage(struct inbox *in, const struct inbox_error *e)
{
    if (!in->db_down)
        say_warn(&in->say, "the database cannot be used: waiting for it", LOG_S("text", e->text));
    else
        say_folded(&in->say, INBOX_LOG_WARN, "still waiting for the database", e->text);
    in->db_pause_ms = in->db_down ? in->db_pause_ms * 2 : DB_PAUSE_MIN_MS;
    if (in->db_pause_ms > DB_PAUSE_MAX_MS)
        in->db_pause_ms = DB_PAUSE_MAX_MS;
    in->db_down = true;
    in->db_wake_ms = clock_now_ms() + in->db_pause_ms;
}

void settle_back(struct inbox *in)
{
    if (in->db_down)
        say_info(&in->say, "the database is back", LOG_END);
    in->db_down = false;
    in->db_wake_ms = 0;
}

void settle_fatal(struct inbox *in, const struct inbox_error *e)
{
    if (in->final.code != INBOX_E_NONE)
        return;
    in->final = *e;
    say_error(&in->say, "the consumer stops", LOG_S("error", inbox_code_name(e->code)),
              LOG_S("text", e->text));
}

static void record(struct inbox *in, const struct failure *f)
{
    const enum db db = in->db_down ? DB_OK : session_record(&in->db, f);

    (void)db; /* it has told when it failed */
}

/* ---- one event ------------------------------------------------------------------------------- */

static int64_t growing(int64_t first, int64_t most, int times)
{
    int64_t pause = first;

    while (times-- > 0 && pause < most)
        pause *= 2;
    return pause < most ? pause : most;
}

/* The next turn sends it. */
static void give_up(struct inbox *in, struct part *part, const struct inbox_error *e)
{
    struct inbox_event *event = part->head;

    event_give_up(event, e);
    part->wake_ms = 0;
    say_warn(&in->say, "event given up", WHERE(event), LOG_S("error", inbox_code_name(e->code)),
             LOG_S("text", e->text), LOG_I("attempts", event->attempt));
}

static void fail(struct inbox *in, struct part *part, const struct inbox_error *e)
{
    struct inbox_event *event = part->head;
    const uint64_t now_ms = clock_now_ms();
    const int64_t pause_ms =
        growing(in->params.backoff_ms, in->params.backoff_max_ms, event->attempt - 1);

    if (event->first_failed_ms == 0)
        event->first_failed_ms = now_ms;
    event->conflicts = 0;
    event->may_be_recorded = true;
    in->counters.retries++;
    if (event->attempt >= in->params.max_attempts ||
        now_ms + (uint64_t)pause_ms > event->first_failed_ms + (uint64_t)in->params.budget_ms) {
        give_up(in, part, e);
        return;
    }
    say_warn(&in->say, "event failed, another try follows", WHERE(event),
             LOG_S("error", inbox_code_name(e->code)), LOG_S("text", e->text),
             LOG_I("attempt", event->attempt), LOG_I("pause_ms", pause_ms));
    record(in, &(struct failure){.event = event,
                                 .class = inbox_code_name(e->code),
                                 .text = e->text,
                                 .attempts = event->attempt,
                                 .next_try_ms = pause_ms});
    event->attempt++;
    part->wake_ms = clock_now_ms() + (uint64_t)pause_ms;
}

static void conflict(struct inbox *in, struct part *part, const struct inbox_error *e)
{
    struct inbox_event *event = part->head;
    const uint64_t now_ms = clock_now_ms();
    struct inbox_error final;

    in->counters.conflicts++;
    if (event->first_failed_ms == 0)
        event->first_failed_ms = now_ms;
    if (now_ms - event->first_failed_ms > (uint64_t)in->params.budget_ms) {
        fault_set(
            &final, INBOX_E_BUDGET,
            "event %s (%s [%d] offset %lld) met conflicts for longer than budget_ms; the last "
            "one: %.200s",
            event->id, inbox_event_topic(event), (int)inbox_event_partition(event),
            (long long)inbox_event_offset(event), e->text);
        settle_fatal(in, &final);
        return;
    }
    say_folded(&in->say, INBOX_LOG_INFO, "conflict, trying again", e->text);
    /* Two members that met must not meet again at once: the id spreads them. */
    part->wake_ms = now_ms + (uint64_t)growing(CONFLICT_MIN_MS, CONFLICT_MAX_MS, event->conflicts) +
                    (unsigned char)event->id[35] % 8;
    event->conflicts++;
}

void settle_failure(struct inbox *in, struct part *part, const struct outcome *outcome)
{
    switch (outcome->result) {
    case RESULT_FAILED:
        fail(in, part, &outcome->error);
        break;
    case RESULT_CONFLICT:
        conflict(in, part, &outcome->error);
        break;
    case RESULT_TOO_OLD:
        in->counters.too_old++;
        give_up(in, part, &outcome->error);
        break;
    case RESULT_REJECTED:
        give_up(in, part, &outcome->error);
        break;
    case RESULT_OUTAGE:
        settle_outage(in, &outcome->error);
        break;
    case RESULT_FATAL:
        settle_fatal(in, &outcome->error);
        break;
    case RESULT_DONE:
    case RESULT_SLOW:
    case RESULT_STOPPED:
        break;
    }
}

/* ---- dead letters ---------------------------------------------------------------------------- */

static void topic_for(const struct inbox *in, const struct part *part, char *out, size_t size)
{
    if (in->params.dead_letter_topic != NULL)
        (void)snprintf(out, size, "%s", in->params.dead_letter_topic);
    else
        (void)snprintf(out, size, "%s.dlt", part->topic);
}

static void send_letter(struct inbox *in, struct part *part, const char *topic, uint64_t now_ms)
{
    struct inbox_error e;

    part->letter = dead_send(in->dead, part->head, topic, &e);
    part->letter_ms = now_ms;
    if (part->explain_ms < now_ms)
        part->explain_ms = now_ms + DEAD_EXPLAIN_MS;
    if (part->letter != NULL)
        return;
    say_folded(&in->say, INBOX_LOG_WARN, "the dead letter waits", e.text);
    part->wake_ms = now_ms + DEAD_AGAIN_MS;
}

/* It takes long: says why, and shows it among the failures. */
static void explain(struct inbox *in, struct part *part, const char *topic)
{
    struct inbox_event *event = part->head;
    char why[256];
    char text[1024];

    dead_explain(in->dead, topic, why, sizeof why);
    (void)snprintf(text, sizeof text, "waits for the dead-letter topic %s: %s", topic, why);
    say_folded(&in->say, INBOX_LOG_WARN, "the dead letter waits", text);
    record(in, &(struct failure){.event = event,
                                 .class = inbox_code_name(event->error->code),
                                 .text = text,
                                 .attempts = event->attempt,
                                 .next_try_ms = 0});
    part->explain_ms = clock_now_ms() + DEAD_EXPLAIN_EACH;
}

static void acked(struct inbox *in, struct part *part, const char *topic)
{
    struct inbox_event *event = part->head;
    const struct failure f = {.event = event,
                              .class = inbox_code_name(event->error->code),
                              .text = event->error->text,
                              .attempts = event->attempt,
                              .next_try_ms = -1,
                              .dead_letter_topic = topic};
    struct inbox_error e;

    if (in->db_down && clock_now_ms() < in->db_wake_ms)
        return;
    if (session_record(&in->db, &f) == DB_OUTAGE) {
        fault_set(&e, INBOX_E_CONNECTION, "a failure cannot be recorded");
        settle_outage(in, &e);
        return;
    }
    settle_back(in);
    say_warn(&in->say, "event dead-lettered", WHERE(event), LOG_S("to", topic),
             LOG_S("error", inbox_code_name(event->error->code)),
             LOG_S("text", event->error->text));
    in->counters.dead_lettered++;
    if (event->error->code == INBOX_E_MALFORMED)
        in->counters.malformed++;
    dead_letter_drop(part->letter);
    part->letter = NULL;
    part_pop(part);
}

static void follow(struct inbox *in, struct part *part, const char *topic, uint64_t now_ms)
{
    char text[1024];
    const char *why;

    switch (dead_letter_state(part->letter, &why)) {
    case LETTER_SENDING:
        if (now_ms >= part->explain_ms)
            explain(in, part, topic);
        break;
    case LETTER_ACKED:
        acked(in, part, topic);
        break;
    case LETTER_FAILED:
        (void)snprintf(text, sizeof text, "dead-letter topic %s: %s", topic, why);
        say_folded(&in->say, INBOX_LOG_WARN, "the dead letter waits", text);
        dead_letter_drop(part->letter);
        part->letter = NULL;
        part->wake_ms = now_ms + DEAD_AGAIN_MS;
        break;
    }
}

void settle_dead(struct inbox *in, uint64_t now_ms)
{
    char topic[512];

    dead_poll(in->dead);
    for (size_t i = 0; i < in->parts.count; i++) {
        struct part *part = in->parts.part[i];

        if (part->head == NULL || part->head->kind != EVENT_DEAD || part->wake_ms > now_ms)
            continue;
        topic_for(in, part, topic, sizeof topic);
        if (part->letter == NULL)
            send_letter(in, part, topic, now_ms);
        else
            follow(in, part, topic, now_ms);
    }
}
