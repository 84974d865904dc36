/* `outboxd replay`: publishes kept events again, in id order, each with its own event id and the
 * header outboxd-replay. Only what the relay has published: an event that it has yet to send would
 * overtake those before it.
 *
 * Failure: the first refusal, half a minute without an acknowledgement, or a signal ends it; what
 * was acknowledged without a gap is told, with the command that sends the rest. Some of the rest
 * may have arrived: it comes twice then, with the same event id. */
#include "app/commands.h"

#include "app/confirm.h"
#include "app/meter.h"
#include "app/replay_plan.h"
#include "app/sink_params.h"
#include "base/clock.h"
#include "kafka/outlet.h"
#include "message/message.h"
#include "outbox/kept.h"
#include "settings/settings.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

enum { WAIT_MS = 100, SILENCE_MS = 30000, LAST_REPORTS_MS = 5000, PAGE_ROWS_MAX = 2000 };

struct replay {
    const struct cli *cli;
    const struct settings *settings;
    struct replay_plan *plan;
    struct outlet *outlet;
    struct message message;
    struct message_header mark;
    char run_time[CLOCK_RFC3339_SIZE];
    struct meter meter;
    bool singly;     /* one in flight, after a refusal that may have been that of a whole batch */
    int64_t settled; /* all up to this id are acknowledged */
    int64_t acked_before; /* by an earlier producer */
    int64_t sent;
    int64_t acked; /* when something was acknowledged for the last time */
    uint64_t acked_ms;
    uint64_t begun_us;
};

/* ---- signals --------------------------------------------------------------------------------- */

static volatile sig_atomic_t interrupted;

static void interrupt(int sig)
{
    (void)sig;
    interrupted = 1;
}

/* The first one ends the replay in order, the second one at once. */
static void catch_signals(void)
{
    struct sigaction act = {.sa_handler = interrupt, .sa_flags = (int)SA_RESETHAND};

    (void)sigaction(SIGINT, &act, NULL);
    (void)sigaction(SIGTERM, &act, NULL);
}

/* ---- sending --------------------------------------------------------------------------------- */

static void show(struct replay *r)
{
    long long acked = r->acked_before + outlet_acked(r->outlet);

    meter_show(&r->meter, "replay: %lld of %lld events acknowledged", acked,
               (long long)r->plan->events);
}

/* Waits for reports, up to wait_ms. */
static int wait_for_kafka(struct replay *r, uint32_t wait_ms, struct err *err)
{
    uint64_t now;

    if (outlet_poll(r->outlet, wait_ms, err) != 0)
        return -1;
    show(r);
    now = clock_now_ms();
    if (outlet_acked(r->outlet) != r->acked || outlet_in_flight(r->outlet) == 0) {
        r->acked = outlet_acked(r->outlet);
        r->acked_ms = now;
    }
    if (interrupted != 0)
        return err_set(err, ERR_TEMPFAIL, "interrupted");
    if (now - r->acked_ms < SILENCE_MS)
        return 0;
    outlet_diagnose(r->outlet, err);
    return err_wrap(err, "no acknowledgement for %d s", SILENCE_MS / 1000);
}

/* Until it is the next event's turn. */
static int keep_rate(struct replay *r, struct err *err)
{
    uint64_t due_us;

    if (r->cli->rate == 0)
        return 0;
    due_us = r->begun_us + (uint64_t)r->sent * 1000000 / (uint64_t)r->cli->rate;
    for (;;) {
        uint64_t now_us = clock_now_us();
        uint64_t wait_ms = now_us >= due_us ? 0 : (due_us - now_us + 999) / 1000;

        if (wait_for_kafka(r, wait_ms > WAIT_MS ? WAIT_MS : (uint32_t)wait_ms, err) != 0)
            return -1;
        if (wait_ms == 0)
            return 0;
    }
}

static int send_row(void *ctx, const struct event *e, enum kept_state state, struct err *err)
{
    struct replay *r = ctx;
    struct event again = replay_plan_event(r->plan, e);
    int rc;

    if (state == KEPT_UNSETTLED)
        return 0;
    if (message_build(&r->message, &r->settings->routes, &again, err) != 0)
        return err_wrap(err, "the event with id %lld", (long long)e->id);
    if (keep_rate(r, err) != 0)
        return -1;
    while (r->singly && outlet_in_flight(r->outlet) > 0)
        if (wait_for_kafka(r, WAIT_MS, err) != 0)
            return -1;
    while ((rc = outlet_send(r->outlet, &r->message, &r->mark, e->id, err)) == 0)
        if (wait_for_kafka(r, WAIT_MS, err) != 0)
            return -1;
    r->sent += rc == 1;
    if (rc == 1 && r->sent % 256 == 0)
        rc = wait_for_kafka(r, 0, err) == 0 ? 1 : -1;
    return rc == 1 ? 0 : -1;
}

static int send_all(struct replay *r, struct kept *kept, struct err *err)
{
    int rate = r->cli->rate;
    const struct kept_reader reader = {
        .ctx = r,
        .row = send_row,
        .with_payload = true,
        /* a page is an open statement: not for much longer than a second */
        .page_rows = rate == 0 || rate > PAGE_ROWS_MAX ? PAGE_ROWS_MAX : (uint32_t)rate,
    };

    r->begun_us = clock_now_us();
    r->sent = 0;
    r->acked = 0;
    r->acked_ms = clock_now_ms();
    if (kept_read(kept, &r->plan->filter, &reader, err) != 0)
        return -1;
    while (outlet_in_flight(r->outlet) > 0)
        if (wait_for_kafka(r, WAIT_MS, err) != 0)
            return -1;
    return 0;
}

/* What is still out may be acknowledged: then the rest is shorter. */
static void take_last_reports(struct replay *r)
{
    uint64_t end = clock_now_ms() + LAST_REPORTS_MS;
    struct err known;

    while (outlet_in_flight(r->outlet) > 0 && clock_now_ms() < end)
        if (outlet_poll(r->outlet, WAIT_MS, &known) != 0)
            continue; /* it was refused before, and will be told */
}

/* Once: a broker judges a batch as a whole, so that small events are refused with a large one. One
 * by one, from what is settled on, shows which it is, or that each alone is welcome. */
static bool can_go_singly(struct replay *r, const struct kafka_sink_params *sink, struct err *err)
{
    struct err refusal = *err;

    if (r->singly || interrupted != 0 ||
        (err->problem != PROBLEM_MESSAGE_TOO_LARGE && err->problem != PROBLEM_MESSAGE_INVALID))
        return false;
    r->singly = true;
    r->acked_before = outlet_acked(r->outlet);
    if (r->settled >= r->plan->filter.id_from)
        r->plan->filter.id_from = r->settled + 1;
    outlet_free(r->outlet);
    r->outlet = outlet_new(sink, err);
    if (r->outlet == NULL)
        *err = refusal;
    return r->outlet != NULL;
}

static void keep_settled(struct replay *r)
{
    if (outlet_settled(r->outlet) > 0)
        r->settled = outlet_settled(r->outlet);
}

static int send_to_the_end(struct replay *r, struct kept *kept,
                           const struct kafka_sink_params *sink, struct err *err)
{
    int rc;

    for (;;) {
        rc = send_all(r, kept, err);
        if (rc != 0)
            take_last_reports(r);
        keep_settled(r);
        if (rc == 0 || !can_go_singly(r, sink, err))
            return rc;
    }
}

static void tell_the_rest(const struct replay *r)
{
    struct str command = {0};

    replay_plan_put_command(r->plan, r->settled, &command);
    if (r->settled > 0)
        (void)printf("acknowledged up to id %lld; the rest:\n", (long long)r->settled);
    else
        (void)printf("nothing is known to be acknowledged; all of it again:\n");
    (void)printf("  %s\n", command.data);
    str_release(&command);
}

/* ---- the command ----------------------------------------------------------------------------- */

static int require_topics(struct replay *r, struct err *err)
{
    const char **names = xcalloc(r->plan->topic_count, sizeof names[0]);
    int rc;

    for (size_t i = 0; i < r->plan->topic_count; i++)
        names[i] = r->plan->topics[i].name;
    rc = outlet_require(r->outlet, names, r->plan->topic_count, err);
    free(names);
    return rc;
}

static int send_after_asking(struct replay *r, struct kept *kept,
                             const struct kafka_sink_params *sink, struct err *err)
{
    int rc;

    if (require_topics(r, err) != 0)
        return -1;
    if (r->cli->dry_run) {
        (void)printf("Nothing was sent (--dry-run).\n");
        return 0;
    }
    if (!r->cli->yes && !confirmed())
        return err_set(err, ERR_USAGE, "nothing was sent: say --yes, or answer yes at a terminal");
    catch_signals();
    meter_init(&r->meter);
    rc = send_to_the_end(r, kept, sink, err);
    meter_end(&r->meter);
    if (rc == 0)
        (void)printf("%lld events acknowledged, marked %s: %s\n", (long long)r->plan->events,
                     HEADER_REPLAY, r->run_time);
    else
        tell_the_rest(r);
    return rc;
}

static int replay(struct replay *r, struct kept *kept, struct err *err)
{
    struct kafka_sink_params sink;
    struct kafka_pair *pairs;
    int rc = -1;

    if (replay_plan_count(r->plan, kept, err) != 0)
        return -1;
    replay_plan_print(r->plan);
    if (r->plan->events == 0)
        return 0;
    r->plan->filter.id_to = r->plan->last_id;
    clock_format_ms(clock_wall_us(), r->run_time);
    r->mark = (struct message_header){SLICE_LIT(HEADER_REPLAY), slice_of(r->run_time)};
    pairs = sink_params_of(r->settings, &sink);
    r->outlet = outlet_new(&sink, err);
    if (r->outlet != NULL)
        rc = send_after_asking(r, kept, &sink, err);
    outlet_free(r->outlet);
    free(pairs);
    return rc;
}

int command_replay(const struct cli *c, struct err *err)
{
    struct settings settings = {0};
    struct replay_plan plan;
    struct replay r = {.cli = c, .settings = &settings, .plan = &plan};
    struct kept *kept = NULL;
    int rc = replay_plan_init(&plan, c, clock_wall_us(), err);

    message_init(&r.message);
    if (rc == 0)
        rc = settings_load(&settings, c->config, err);
    if (rc == 0) {
        const struct command_server server = command_server_of(&settings);

        plan.settings = &settings;
        kept = kept_open(&server, settings.relay.name, err);
        rc = kept == NULL ? -1 : replay(&r, kept, err);
    }
    kept_close(kept);
    message_release(&r.message);
    replay_plan_release(&plan);
    settings_release(&settings);
    return rc;
}
