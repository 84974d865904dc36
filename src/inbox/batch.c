/* One batch: one transaction, one claim statement for all of its events, the handler for the new
 * ones in order, COMMIT.
 *
 * A batch in which anything fails is rolled back, and its events are run again one by one: only
 * then does a failure count as an attempt, so that an event which fails in company only does no
 * harm. The events of a partition stand in the order of their offsets, in a batch and from batch to
 * batch; and whatever is handled by this member comes after events that are committed, or claimed
 * in the same transaction. So a member that was thought dead and is not (a zombie) can slow its
 * successor down, but neither overtake it nor repeat it. */
#include "inbox/internal.h"

#include "base/clock.h"

#include <string.h>

#define LONGEST_MS 10000U /* then the batch is given up; a rebalance waits for us that long */
#define TARGET_MS  1000U  /* what a batch should take at most */
#define STOP_MS    3000U  /* what it may still take once we are to stop */

/* ---- what goes into it ----------------------------------------------------------------------- */

size_t batch_ready(const struct inbox *in, uint64_t now_ms, size_t *bytes)
{
    size_t ready = 0;

    *bytes = 0;
    for (size_t i = 0; i < in->parts.count; i++) {
        const struct part *part = in->parts.part[i];

        if (part_waits(part, now_ms))
            continue;
        ready += part->held;
        *bytes += part->held_bytes;
    }
    return ready;
}

/* Takes from one partition what can go together. An event that is alone, or to be dead-lettered,
 * ends it. */
static size_t take_from(const struct part *part, struct inbox_event **out, size_t room, bool *alone)
{
    size_t n = 0;

    for (struct inbox_event *event = part->head; event != NULL && n < room; event = event->next) {
        if (event->kind == EVENT_DEAD || (event->alone && (n > 0 || !*alone)))
            break;
        out[n++] = event;
        if (event->alone)
            return n;
    }
    if (n > 0)
        *alone = false;
    return n;
}

static size_t build(struct inbox *in, uint64_t now_ms)
{
    size_t n = 0;
    bool alone = true; /* so far, an event that must be alone can be */

    for (size_t i = 0; i < in->parts.count && n < in->limit; i++) {
        const struct part *part = in->parts.part[(in->turn + i) % in->parts.count];

        if (part_waits(part, now_ms))
            continue;
        n += take_from(part, in->batch + n, in->limit - n, &alone);
        if (n == 1 && in->batch[0]->alone)
            break;
    }
    in->turn++;
    return n;
}

/* ---- one transaction ------------------------------------------------------------------------- */

static enum result of_db(enum db db)
{
    switch (db) {
    case DB_OK:
        return RESULT_DONE;
    case DB_OUTAGE:
        return RESULT_OUTAGE;
    case DB_CONFLICT:
        return RESULT_CONFLICT;
    case DB_REFUSED:
    case DB_BROKEN:
        return RESULT_FAILED;
    case DB_FATAL:
        return RESULT_FATAL;
    }
    return RESULT_FATAL;
}

static void tell_broken(struct inbox *in, const struct inbox_error *e)
{
    in->counters.broken_contracts++;
    say_error(&in->say, "the handler broke its contract", LOG_S("text", e->text));
}

/* What the handler says counts only when the database has nothing else to say; its words are kept
 * in either case. */
static enum result judge(struct inbox *in, const struct inbox_event *event, enum db db,
                         enum inbox_verdict verdict, struct inbox_error *e)
{
    if (db == DB_BROKEN) {
        tell_broken(in, e);
        return RESULT_FAILED;
    }
    if (db == DB_OUTAGE || db == DB_CONFLICT)
        return of_db(db);
    if (verdict == INBOX_REJECT) {
        fault_set(e, INBOX_E_REJECTED, "%s",
                  event->explained != NULL ? event->explained : "the handler rejected it");
        return RESULT_REJECTED;
    }
    if (verdict == INBOX_OK)
        return of_db(db);
    if (event->explained != NULL)
        fault_set(e, INBOX_E_HANDLER, "%s", event->explained);
    else if (db == DB_OK)
        fault_set(e, INBOX_E_HANDLER, "the handler asked for another try");
    return RESULT_FAILED;
}

static enum result handle(struct inbox *in, struct inbox_event *event, struct inbox_error *e)
{
    enum inbox_verdict verdict;

    event_begin_attempt(event);
    session_watch(&in->db);
    verdict = in->params.handler(in->db.conn, event, in->params.arg);
    return judge(in, event, session_unwatch(&in->db, e), verdict, e);
}

/* Between two events of a batch: may it go on? */
static enum result check_time(struct inbox *in, uint64_t start_ms)
{
    const uint64_t now_ms = clock_now_ms();

    if (atomic_load(&in->stopping)) {
        if (in->stop_ms == 0)
            in->stop_ms = now_ms;
        if (now_ms - in->stop_ms > STOP_MS)
            return RESULT_STOPPED;
    }
    return now_ms - start_ms > LONGEST_MS ? RESULT_SLOW : RESULT_DONE;
}

static enum result run_handlers(struct inbox *in, size_t count, size_t *handled,
                                struct inbox_error *e)
{
    const uint64_t start_ms = clock_now_ms();
    enum result result = RESULT_DONE;

    for (size_t i = 0; i < count; i++) {
        if (in->answers[i] == 'n') {
            fault_set(e, INBOX_E_TOO_OLD,
                      "older than the time for which claims are kept: it could have taken effect "
                      "before");
            return RESULT_TOO_OLD;
        }
    }
    for (size_t i = 0; i < count && result == RESULT_DONE; i++) {
        if (in->answers[i] != 't')
            continue;
        if (*handled > 0)
            result = check_time(in, start_ms);
        if (result == RESULT_DONE)
            result = handle(in, in->claims[i], e);
        *handled += result == RESULT_DONE ? 1 : 0;
    }
    return result;
}

/* The events in in->claims, all or none. */
static enum result run(struct inbox *in, size_t count, size_t *handled, struct inbox_error *e)
{
    enum result result = of_db(session_ready(&in->db, e));
    enum db db;

    if (result != RESULT_DONE)
        return result;
    say_debug(&in->say, "phase begun", LOG_I("events", count));
    result = of_db(
        session_begin(&in->db, in->claims, count, in->params.accept_old != 0, in->answers, e));
    if (result == RESULT_DONE) {
        say_debug(&in->say, "phase claimed", LOG_I("events", count));
        result = run_handlers(in, count, handled, e);
    }
    if (result != RESULT_DONE) {
        session_rollback(&in->db); /* harmless without a transaction */
        say_debug(&in->say, "phase rolled back", LOG_I("events", count));
        return result;
    }
    say_debug(&in->say, "phase handled", LOG_I("events", *handled));
    db = session_commit(&in->db, e);
    if (db == DB_BROKEN)
        tell_broken(in, e);
    say_debug(&in->say, db == DB_OK ? "phase committed" : "phase not committed",
              LOG_I("events", *handled));
    return of_db(db);
}

/* ---- the batch ------------------------------------------------------------------------------- */

static struct part *part_of(struct inbox *in, const struct inbox_event *event)
{
    return parts_find(&in->parts, inbox_event_topic(event), inbox_event_partition(event));
}

static void settle_done(struct inbox *in, size_t count, size_t claims, size_t handled)
{
    in->counters.handled += handled;
    in->counters.duplicates += claims - handled;
    in->counters.filtered += count - claims;
    in->counters.batches += claims > 0 ? 1 : 0;
    for (size_t i = 0; i < count; i++)
        part_pop(part_of(in, in->batch[i]));
}

/* How many events the next batch may have, so that it takes about TARGET_MS at most. */
static void adapt(struct inbox *in, size_t handled, uint64_t took_ms)
{
    const size_t most = (size_t)in->params.batch_size;

    if (took_ms > TARGET_MS && handled > 0)
        in->limit = handled * TARGET_MS / took_ms;
    else if (took_ms < TARGET_MS / 2)
        in->limit *= 2;
    if (in->limit < 1)
        in->limit = 1;
    if (in->limit > most)
        in->limit = most;
}

static void settle_batch(struct inbox *in, size_t count, const struct outcome *outcome)
{
    switch (outcome->result) {
    case RESULT_OUTAGE:
        settle_outage(in, &outcome->error);
        return;
    case RESULT_FATAL:
        settle_fatal(in, &outcome->error);
        return;
    case RESULT_STOPPED:
        return;
    case RESULT_DONE:
    case RESULT_CONFLICT:
    case RESULT_FAILED:
    case RESULT_REJECTED:
    case RESULT_TOO_OLD:
    case RESULT_SLOW:
        break;
    }
    in->counters.batches_failed++;
    say_info(
        &in->say, "batch rolled back, its events follow one by one", LOG_I("events", count),
        LOG_S("text", outcome->result == RESULT_SLOW ? "it took too long" : outcome->error.text));
    for (size_t i = 0; i < count; i++)
        in->batch[i]->alone = true;
}

bool batch_turn(struct inbox *in, uint64_t now_ms)
{
    const size_t count = build(in, now_ms);
    struct outcome outcome = {0};
    size_t claims = 0;
    size_t handled = 0;

    for (size_t i = 0; i < count; i++)
        if (in->batch[i]->kind == EVENT_HANDLE)
            in->claims[claims++] = in->batch[i];
    if (claims > 0)
        outcome.result = run(in, claims, &handled, &outcome.error);
    if (claims > 0 && outcome.result != RESULT_OUTAGE)
        settle_back(in);
    if (outcome.result == RESULT_DONE)
        settle_done(in, count, claims, handled);
    else if (count == 1)
        settle_failure(in, part_of(in, in->batch[0]), &outcome);
    else
        settle_batch(in, count, &outcome);
    if (outcome.result == RESULT_DONE || outcome.result == RESULT_SLOW)
        adapt(in, handled, clock_now_ms() - now_ms);
    return count > 0;
}
