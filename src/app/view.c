#include "app/view.h"

#include "app/process.h"
#include "base/clock.h"
#include "outbox/source.h"

#include <event2/event.h>
#include <string.h>

/* ---- what is wrong ---- */

/* While there are no sessions that is the trouble, whatever Kafka said before; and Kafka's matters
 * to who publishes only: a standby hears of brokers that are away, but not of their return. */
static enum problem find_problem(const struct view *v)
{
    const struct trouble *trouble = relay_trouble(v->relay);

    switch (relay_state(v->relay)) {
    case RELAY_NEW:
    case RELAY_OPENING:
    case RELAY_BACKOFF:
    case RELAY_STOPPED:
        if (v->lost.kind == ERR_NONE)
            return PROBLEM_NONE;
        return v->lost.problem == PROBLEM_NONE ? PROBLEM_DATABASE_ERROR : v->lost.problem;
    case RELAY_STANDBY:
    case RELAY_TAKING:
        return PROBLEM_NONE;
    case RELAY_LEADING:
    case RELAY_DRAINING:
        break;
    }
    if (trouble->cause[0] != '\0')
        return problem_parse(trouble->cause);
    return relay_paused(v->relay) ? PROBLEM_PAUSED : PROBLEM_NONE;
}

static bool is_about_kafka(const struct view *v)
{
    return relay_trouble(v->relay)->cause[0] != '\0' &&
           v->problem == problem_parse(relay_trouble(v->relay)->cause) &&
           relay_state(v->relay) != RELAY_BACKOFF && relay_state(v->relay) != RELAY_OPENING;
}

static void look_for_problem(struct view *v, uint64_t now_ms)
{
    enum problem problem = find_problem(v);

    if (problem != v->problem)
        v->problem_since_ms = now_ms;
    v->problem = problem;
}

static bool is_ready(const struct view *v)
{
    enum relay_state state = relay_state(v->relay);

    return state == RELAY_STANDBY || (state == RELAY_LEADING && v->problem == PROBLEM_NONE);
}

/* ---- notes ---- */

static void remember(struct view *v, enum relay_note note, const struct err *error, uint64_t now_ms)
{
    struct view_note *last = &v->notes[(v->note_count + OPS_NOTES - 1) % OPS_NOTES];

    if (v->note_count == 0 || last->note != note || strcmp(last->error.text, error->text) != 0) {
        last = &v->notes[v->note_count++ % OPS_NOTES];
        *last = (struct view_note){.note = note, .error = *error};
    }
    last->at_ms = now_ms;
    last->times++;
}

void view_note(struct view *v, enum relay_note note, const struct trouble *trouble)
{
    uint64_t now = clock_now_ms();
    struct err error = {0};

    if (note == RELAY_NOTE_LOST || note == RELAY_NOTE_FATAL) {
        v->lost = *relay_failure(v->relay);
        error = v->lost;
    } else if (note == RELAY_NOTE_LEASE_EXPIRED) {
        (void)err_problem(&v->lost, ERR_UNAVAILABLE, PROBLEM_DATABASE_UNREACHABLE,
                          "the lease was not renewed in time");
    } else if (note == RELAY_NOTE_CONNECTED) {
        err_clear(&v->lost);
    } else if (note == RELAY_NOTE_RECOVERING || note == RELAY_NOTE_STALLED ||
               note == RELAY_NOTE_HALTED) {
        if (trouble != NULL)
            (void)err_set(&error, ERR_UNAVAILABLE, "%s", trouble->text);
    }
    remember(v, note, &error, now);
    look_for_problem(v, now);
}

/* ---- the picture ---- */

static void on_second(evutil_socket_t fd, short what, void *ctx)
{
    struct view *v = ctx;
    uint64_t now = clock_now_ms();

    (void)fd;
    (void)what;
    rates_take(&v->rates, relay_counters(v->relay), now);
    look_for_problem(v, now);
}

static void fill_identity(const struct view *v, struct ops_view *out, uint64_t now_ms)
{
    const struct settings *s = v->settings;

    out->version = OUTBOXD_VERSION;
    out->relay = s->relay.name;
    out->instance = s->relay.instance;
    out->uptime_s = (double)(now_ms - v->started_ms) / 1000;
    out->routes = &s->routes;
    out->window_capacity = s->relay.window_events;
    out->window_bytes_capacity = s->relay.window_bytes;
}

static void fill_problem(const struct view *v, struct ops_view *out, uint64_t now_ms)
{
    const struct trouble *trouble = relay_trouble(v->relay);
    int64_t next_try_ms = relay_next_try_ms(v->relay, now_ms);
    bool kafka = is_about_kafka(v);

    out->ready = is_ready(v);
    out->problem = v->problem;
    out->problem_text = "";
    if (kafka)
        out->problem_text = trouble->text;
    else if (v->problem != PROBLEM_NONE && v->problem != PROBLEM_PAUSED)
        out->problem_text = v->lost.text;
    out->problem_topic = kafka ? trouble->topic : "";
    out->problem_event_id = kafka ? trouble->event_id : "";
    out->problem_for_s =
        v->problem == PROBLEM_NONE ? 0 : (double)(now_ms - v->problem_since_ms) / 1000;
    out->attempts = kafka ? trouble->attempts : 0;
    out->halted = kafka && trouble->halted;
    out->next_try_s = next_try_ms < 0 ? -1 : (double)next_try_ms / 1000;
}

static void fill_notes(const struct view *v, struct ops_view *out, uint64_t now_ms)
{
    out->note_count = v->note_count < OPS_NOTES ? (size_t)v->note_count : OPS_NOTES;
    for (size_t i = 0; i < out->note_count; i++) {
        const struct view_note *n = &v->notes[(v->note_count - 1 - i) % OPS_NOTES];

        out->notes[i] = (struct ops_note){.age_s = (double)(now_ms - n->at_ms) / 1000,
                                          .text = relay_note_text(n->note),
                                          .error = n->error.text,
                                          .times = n->times};
    }
}

static void fill_backlog(const struct view *v, struct ops_view *out)
{
    struct backlog b;

    outbox_source_backlog(v->source, &b);
    out->backlog = (struct ops_backlog){.known = b.known,
                                        .age_s = b.age_s,
                                        .unsent_events = b.unsent_events,
                                        .estimated = b.estimated,
                                        .oldest_unsent_s = b.oldest_unsent_s,
                                        .lanes = b.lanes,
                                        .oldest_lane_s = b.oldest_lane_s,
                                        .oldest_transaction_s = b.oldest_transaction_s,
                                        .sees_transactions = b.sees_transactions,
                                        .overdue_days = b.overdue_days,
                                        .default_rows = b.default_rows};
}

void view_fill(void *ctx, struct ops_view *out)
{
    struct view *v = ctx;
    uint64_t now = clock_now_ms();

    look_for_problem(v, now);
    fill_identity(v, out, now);
    fill_problem(v, out, now);
    fill_notes(v, out, now);
    fill_backlog(v, out);
    out->state = relay_state(v->relay);
    out->epoch = relay_epoch(v->relay);
    out->paused = relay_paused(v->relay);
    relay_lanes(v->relay, &out->lanes);
    out->counters = relay_counters(v->relay);
    out->window_events = relay_window_events(v->relay);
    out->window_bytes = relay_window_bytes(v->relay);
    out->rate_1s = rates_published(&v->rates, out->counters, now, 1000);
    out->rate_10s = rates_published(&v->rates, out->counters, now, 10000);
    out->rate_60s = rates_published(&v->rates, out->counters, now, 60000);
    out->last_minute = rates_latency(&v->rates, out->counters, now, 60000);
    process_look(&out->process);
    out->process.start_time_s = v->start_time_s;
}

int view_init(struct view *v, const struct view_params *params, struct err *err)
{
    const struct timeval second = {.tv_sec = 1};

    *v = (struct view){.settings = params->settings,
                       .relay = params->relay,
                       .source = params->source,
                       .started_ms = clock_now_ms(),
                       .start_time_s = (double)clock_wall_us() / 1e6};
    rates_take(&v->rates, relay_counters(v->relay), v->started_ms);
    v->timer = event_new(params->base, -1, EV_PERSIST, on_second, v);
    if (v->timer == NULL || event_add(v->timer, &second) != 0)
        return err_set(err, ERR_SOFTWARE, "cannot make a timer");
    return 0;
}

void view_release(struct view *v)
{
    if (v->timer != NULL)
        event_free(v->timer);
    v->timer = NULL;
}
