/* Ties the three together: outbox/ (Postgres), relay/ (the core) and kafka/, on one libevent loop.
 *
 * How it can fail: the configuration, or the pinned properties: before anything is opened. Later
 * only what the relay itself calls final (relay_failure): a foreign database, a missing schema,
 * grants. Everything else is waited out. */
#include "app/run.h"

#include "app/notes.h"
#include "app/signals.h"
#include "app/sink_params.h"
#include "app/supervisor.h"
#include "app/view.h"
#include "base/clock.h"
#include "base/log.h"
#include "kafka/producer.h"
#include "ops/endpoints.h"
#include "outbox/source.h"
#include "relay/relay.h"
#include "settings/settings.h"

#include <event2/event.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

struct run {
    const char *config_path;
    struct settings settings;
    struct event_base *base;
    struct event *timer;
    struct outbox_source *source;
    struct kafka_sink *sink;
    struct relay *relay;
    struct notes notes;
    struct supervisor supervisor;
    struct view view;
    struct endpoints *endpoints; /* NULL: http.listen is empty */
};

/* ---- host ---- */

static uint64_t host_now_ms(void *ctx)
{
    (void)ctx;
    return clock_now_ms();
}

static int64_t host_wall_us(void *ctx)
{
    (void)ctx;
    return clock_wall_us();
}

static uint32_t host_random(void *ctx)
{
    uint32_t chance = 0;

    (void)ctx;
    if (getrandom(&chance, sizeof chance, 0) != (ssize_t)sizeof chance)
        chance = (uint32_t)clock_now_us();
    return chance;
}

static void host_wake_at(void *ctx, uint64_t at_ms)
{
    struct run *run = ctx;
    uint64_t now = clock_now_ms();
    uint64_t wait = at_ms > now ? at_ms - now : 0;
    struct timeval tv = {.tv_sec = (time_t)(wait / 1000),
                         .tv_usec = (suseconds_t)(wait % 1000 * 1000)};

    if (at_ms == 0)
        (void)evtimer_del(run->timer);
    else
        (void)evtimer_add(run->timer, &tv);
}

static struct notes_facts notes_facts_of(const struct run *run)
{
    return (struct notes_facts){.state = relay_state(run->relay),
                                .epoch = relay_epoch(run->relay),
                                .failure = relay_failure(run->relay)};
}

static void host_note(void *ctx, enum relay_note note, const struct trouble *trouble)
{
    struct run *run = ctx;

    struct notes_facts facts = notes_facts_of(run);

    notes_log(&run->notes, &facts, note, trouble, clock_now_ms());
    supervisor_note(&run->supervisor, run->relay, note, trouble);
    view_note(&run->view, note, trouble);
    if (note == RELAY_NOTE_STOPPED)
        (void)event_base_loopbreak(run->base);
}

static const struct host_ops host_ops = {
    .now_ms = host_now_ms,
    .wall_us = host_wall_us,
    .random = host_random,
    .wake_at = host_wake_at,
    .note = host_note,
};

/* ---- answers of the source and the sink, handed to the core ---- */

static void source_opened(void *ctx)
{
    relay_on_opened(((struct run *)ctx)->relay);
}

static void source_lost(void *ctx, const struct err *why)
{
    relay_on_lost(((struct run *)ctx)->relay, why);
}

static void source_lease(void *ctx, const struct lease_view *view)
{
    relay_on_lease(((struct run *)ctx)->relay, view);
}

static void source_renewed(void *ctx, enum lease_answer answer)
{
    relay_on_renewed(((struct run *)ctx)->relay, answer);
}

static void source_asked(void *ctx, const uint32_t *lanes, size_t count)
{
    relay_on_asked(((struct run *)ctx)->relay, lanes, count);
}

static void source_stored(void *ctx, uint32_t lane, enum lease_answer answer)
{
    relay_on_stored(((struct run *)ctx)->relay, lane, answer);
}

static void source_changed(void *ctx, enum lease_answer answer)
{
    relay_on_changed(((struct run *)ctx)->relay, answer);
}

static void source_released(void *ctx)
{
    relay_on_released(((struct run *)ctx)->relay);
}

static void source_batch(void *ctx, struct slice snapshot, bool complete)
{
    relay_on_batch(((struct run *)ctx)->relay, snapshot, complete);
}

static void source_probed(void *ctx, uint32_t stream, bool many_new, int64_t min_new_id)
{
    relay_on_probed(((struct run *)ctx)->relay, stream, many_new, min_new_id);
}

static enum row_verdict source_row(void *ctx, uint32_t stream, const struct event *e)
{
    return relay_on_row(((struct run *)ctx)->relay, stream, e);
}

static void source_fetched(void *ctx, uint32_t stream, const struct fetched *f)
{
    relay_on_fetched(((struct run *)ctx)->relay, stream, f);
}

static void source_armed(void *ctx, bool armed)
{
    relay_on_armed(((struct run *)ctx)->relay, armed);
}

static void source_bell(void *ctx)
{
    relay_on_bell(((struct run *)ctx)->relay);
}

static const struct source_events source_events = {
    .opened = source_opened,
    .lost = source_lost,
    .lease = source_lease,
    .asked = source_asked,
    .renewed = source_renewed,
    .stored = source_stored,
    .changed = source_changed,
    .released = source_released,
    .batch = source_batch,
    .probed = source_probed,
    .row = source_row,
    .fetched = source_fetched,
    .armed = source_armed,
    .bell = source_bell,
};

static void sink_acked(void *ctx, uint32_t stream, uint64_t seq, int32_t partition)
{
    relay_on_acked(((struct run *)ctx)->relay, stream, seq, partition);
}

static void sink_refused(void *ctx, uint32_t stream, uint64_t seq, enum refusal why,
                         const char *text)
{
    relay_on_refused(((struct run *)ctx)->relay, stream, seq, why, text);
}

static void sink_error(void *ctx, uint32_t stream, enum refusal why, const char *text)
{
    relay_on_sink_error(((struct run *)ctx)->relay, stream, why, text);
}

/* ---- parameters ---- */

static struct relay_params relay_params_of(const struct settings *s)
{
    return (struct relay_params){
        .routes = &s->routes,
        .window_events = s->relay.window_events,
        .window_bytes = s->relay.window_bytes,
        .lease_ttl_ms = s->relay.lease_ttl_ms,
        .shutdown_timeout_ms = s->relay.shutdown_timeout_ms,
        .stall_after_ms = s->relay.stall_after_ms,
        .max_lanes = s->relay.max_lanes,
        .lanes_in_parallel = s->relay.lanes_in_parallel,
        .wakeup = s->relay.wakeup,
        .poll_max_ms = s->relay.poll_interval_ms,
        .fallback_ms = 1000,
        .quiet_ms = 30,
        .max_rate = s->relay.max_rate,
    };
}

/* ---- signals and time ---- */

static void on_timer(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd;
    (void)what;
    struct run *run = ctx;
    struct notes_facts facts = notes_facts_of(run);

    notes_tick(&run->notes, &facts, clock_now_ms());
    relay_tick(run->relay);
}

static void on_stop_signal(void *ctx, int sig)
{
    struct run *run = ctx;

    log_info("told to stop", LOG_S("signal", sig == SIGTERM ? "SIGTERM" : "SIGINT"));
    supervisor_stopping(&run->supervisor, run->settings.relay.shutdown_timeout_ms);
    relay_stop(run->relay);
}

static void on_reload_signal(void *ctx)
{
    struct run *run = ctx;
    struct settings_changes changes = {0};
    struct relay_params params;
    struct err err = {0};

    supervisor_reloading(&run->supervisor);
    if (settings_reload(&run->settings, run->config_path, &changes, &err) != 0) {
        log_error("configuration not reloaded", LOG_S("problem", problem_word(err.problem)),
                  LOG_S("error", err.text), LOG_S("advice", problem_advice(err.problem)));
    } else {
        log_setup(run->settings.log.level, run->settings.log.format);
        params = relay_params_of(&run->settings);
        relay_adjust(run->relay, &params);
        signals_set_stop_limit(params.shutdown_timeout_ms);
        log_info("configuration reloaded", LOG_I("changed", changes.applied_count));
        for (size_t i = 0; i < changes.pending_count; i++)
            log_warn("setting needs a restart", LOG_S("setting", changes.pending[i]));
    }
    relay_retry_now(run->relay);
    supervisor_reloaded(&run->supervisor);
}

/* ---- putting it together ---- */

static int make_source(struct run *run, struct err *err)
{
    const struct settings *s = &run->settings;
    struct outbox_params params = {
        .url = s->postgres.url,
        .password = s->postgres.password,
        .relay = s->relay.name,
        .instance = s->relay.instance,
        .now_ms = clock_now_ms,
        .lease_ttl_ms = s->relay.lease_ttl_ms,
        .connect_timeout_ms = s->postgres.connect_timeout_ms,
        .statement_timeout_ms = s->postgres.statement_timeout_ms,
        .max_event_bytes = s->relay.max_event_bytes,
        .retention_keep_ms = s->retention.keep_ms,
        .routes = &s->routes,
        .doorbell = s->relay.wakeup == WAKEUP_DOORBELL,
    };

    run->source = outbox_source_new(&params, run->base, &source_events, run);
    if (run->source == NULL)
        return err_set(err, ERR_SOFTWARE, "cannot prepare the database side");
    return 0;
}

static int make_sink(struct run *run, struct err *err)
{
    struct kafka_listener listener = {
        .ctx = run, .acked = sink_acked, .refused = sink_refused, .error = sink_error};
    struct kafka_sink_params params;
    struct kafka_pair *pairs = sink_params_of(&run->settings, &params);

    run->sink = kafka_sink_new(&params, run->base, err);
    free(pairs);
    if (run->sink == NULL)
        return -1;
    kafka_sink_listen(run->sink, &listener);
    return 0;
}

static void make_relay(struct run *run)
{
    struct relay_params params = relay_params_of(&run->settings);
    struct relay_world world = {
        .source = &outbox_source_ops,
        .source_ctx = run->source,
        .sink = &kafka_sink_ops,
        .sink_ctx = run->sink,
        .host = &host_ops,
        .host_ctx = run,
    };

    run->relay = relay_new(&params, &world);
}

static int make_endpoints(struct run *run, struct err *err)
{
    const struct view_params view = {
        .base = run->base, .settings = &run->settings, .relay = run->relay, .source = run->source};
    const struct endpoints_params params = {.base = run->base,
                                            .listen = run->settings.http.listen,
                                            .relay = run->settings.relay.name,
                                            .ctx = &run->view,
                                            .look = view_fill};

    if (view_init(&run->view, &view, err) != 0)
        return -1;
    if (params.listen[0] == '\0')
        return 0;
    run->endpoints = endpoints_new(&params, err);
    return run->endpoints == NULL ? -1 : 0;
}

static int make_loop(struct run *run, struct err *err)
{
    struct event_config *config = event_config_new();

    if (config == NULL)
        return err_set(err, ERR_SOFTWARE, "cannot make an event loop");
    /* without this, timers are only as fine as the kernel's coarse clock (4 ms), and a look every 1
     * ms is not */
    (void)event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER);
    run->base = event_base_new_with_config(config);
    event_config_free(config);
    if (run->base == NULL)
        return err_set(err, ERR_SOFTWARE, "cannot make an event loop");
    run->timer = evtimer_new(run->base, on_timer, run);
    if (run->timer == NULL)
        return err_set(err, ERR_SOFTWARE, "cannot watch the timer");
    supervisor_init(&run->supervisor, run->base);
    return 0;
}

static void run_release(struct run *run)
{
    endpoints_free(run->endpoints);
    view_release(&run->view);
    outbox_source_free(run->source);
    kafka_sink_free(run->sink);
    relay_free(run->relay);
    supervisor_release(&run->supervisor);
    signals_release();
    if (run->timer != NULL)
        event_free(run->timer);
    if (run->base != NULL)
        event_base_free(run->base);
    settings_release(&run->settings);
}

/* Memory that is given back stays small: two arenas are enough for our thread and librdkafka's, and
 * large buffers are mapped, so that they return to the system when they are freed. Without fast
 * bins nothing has to be consolidated whenever such a buffer goes: a tenth of a drain's processor
 * time. */
static void limit_malloc(void)
{
    (void)mallopt(M_ARENA_MAX, 2);
    (void)mallopt(M_MXFAST, 0);
    (void)mallopt(M_MMAP_THRESHOLD, 256 * 1024);
    (void)mallopt(M_TRIM_THRESHOLD, 1024 * 1024);
}

static int load_settings(struct run *run, struct err *err)
{
    struct settings_problems problems = {0};
    int rc = settings_load_listing(&run->settings, run->config_path, &problems, err);

    /* the first one is in `err`, which main prints */
    for (size_t i = 1; rc != 0 && i < problems.count; i++)
        log_error("configuration", LOG_S("problem", problem_word(PROBLEM_CONFIGURATION)),
                  LOG_S("error", problems.text[i]));
    settings_problems_release(&problems);
    if (rc == 0)
        log_setup(run->settings.log.level, run->settings.log.format);
    return rc;
}

/* The last line names the problem. In a log of JSON it is JSON, too; else main prints it. */
static void tell_end(const struct run *run, struct err *err)
{
    if (err->problem == PROBLEM_NONE)
        err->problem = err->kind == ERR_CONFIG ? PROBLEM_CONFIGURATION : PROBLEM_INTERNAL_ERROR;
    if (run->settings.log.format != LOG_JSON)
        return;
    log_error(relay_note_text(RELAY_NOTE_FATAL), LOG_S("relay", run->settings.relay.name),
              LOG_S("problem", problem_word(err->problem)), LOG_S("error", err->text),
              LOG_S("advice", problem_advice(err->problem)), LOG_I("exit_code", err->kind));
    err->text[0] = '\0';
}

int run_relay(const char *config_path, struct err *err)
{
    struct run run = {.config_path = config_path, .supervisor.notify.fd = -1};
    const struct signals_user user = {
        .ctx = &run, .stop = on_stop_signal, .reload = on_reload_signal};
    int rc = -1;

    signals_block();
    limit_malloc();
    (void)signal(SIGPIPE, SIG_IGN);
    if (load_settings(&run, err) != 0 || make_loop(&run, err) != 0 || make_source(&run, err) != 0 ||
        make_sink(&run, err) != 0)
        goto out;
    make_relay(&run);
    notes_init(&run.notes, run.settings.relay.name);
    log_info("outboxd", LOG_S("version", OUTBOXD_VERSION), LOG_S("relay", run.settings.relay.name),
             LOG_S("instance", run.settings.relay.instance), LOG_I("pid", getpid()));
    if (make_endpoints(&run, err) != 0 ||
        signals_watch(run.base, &user, run.settings.relay.shutdown_timeout_ms, err) != 0)
        goto out;
    relay_start(run.relay);
    if (event_base_dispatch(run.base) < 0) {
        (void)err_set(err, ERR_SOFTWARE, "the event loop failed");
        goto out;
    }
    notes_totals(&run.notes, relay_counters(run.relay));
    *err = *relay_failure(run.relay);
    rc = err->kind == ERR_NONE ? 0 : -1;
out:
    if (rc != 0)
        tell_end(&run, err);
    signals_leaving();
    run_release(&run);
    return rc;
}
