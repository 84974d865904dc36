/* closed -> opening: all sessions connect and set themselves up, then the checks run -> open ->
 * closed
 *
 * How it can fail: one session breaks, whatever the reason. Then all are closed and `lost` is
 * reported, once; the relay forgets what it knew and opens again. A refusal of our credentials
 * counts as a fault of the configuration only until the first success of this process: later it is
 * a server that is being repaired. */
#include "outbox/source.h"

#include "outbox/backlog.h"
#include "outbox/checks.h"
#include "outbox/days.h"
#include "outbox/doorbell.h"
#include "outbox/hosts.h"
#include "outbox/progress.h"
#include "outbox/reader.h"
#include "outbox/retention.h"
#include "outbox/session.h"

#include <stdlib.h>
#include <string.h>

/* Days are seven ahead, so nothing is urgent: the relay comes first after opening, and who holds a
 * table now may be through in a while. */
#define DAYS_FIRST_MS 1000U
#define DAYS_EVERY_MS 3600000U
#define DAYS_RETRY_MS 300000U

/* A minute after opening the days ahead are there, and whoever restarts is not disturbed. */
#define RETENTION_FIRST_MS 60000U
#define RETENTION_SOON_MS  1000U
#define RETENTION_EVERY_MS 3600000U
#define RETENTION_RETRY_MS 300000U

/* The relay comes first after opening. */
#define BACKLOG_FIRST_MS 1000U
#define BACKLOG_EVERY_MS 5000U

enum { READ, CONTROL, BELL, LANES, SESSIONS };

static const char *const roles[SESSIONS] = {"read", "control", "bell", "lanes"};

/* One of the sessions, with what its handlers need. */
struct leg {
    struct outbox_source *source;
    int number;
    struct session *session; /* NULL: not wanted */
    char server[8];          /* when the server that it is connected to was started */
};

struct outbox_source {
    const struct source_events *events;
    void *ctx;
    char *relay;
    struct hosts *hosts;
    uint32_t timeout_ms;
    struct leg legs[SESSIONS];
    int wanted;
    int ready;
    bool checking; /* the checks run: what they find is a fault of the configuration at any time */
    bool was_open; /* the server has accepted us before */
    struct reader *reader;
    struct reader *lane_reader; /* of all streams but main's */
    bool lanes_open;            /* its session was asked for, at the first read of a lane */
    struct progress *progress;
    struct doorbell *doorbell;
    struct checks *checks;
    struct days *days;
    struct retention *retention;
    struct backlog_watch *backlog;
};

static void source_close(void *ctx)
{
    struct outbox_source *s = ctx;

    for (int i = 0; i < SESSIONS; i++) {
        if (s->legs[i].session != NULL)
            session_close(s->legs[i].session);
    }
    reader_forget(s->reader);
    reader_forget(s->lane_reader);
    s->lanes_open = false;
    progress_forget(s->progress);
    doorbell_forget(s->doorbell);
    days_forget(s->days);
    retention_forget(s->retention);
    backlog_forget(s->backlog);
    s->checking = false;
    s->ready = 0;
}

static void source_open(void *ctx)
{
    struct outbox_source *s = ctx;

    source_close(s);
    for (int i = 0; i < LANES; i++) {
        if (s->legs[i].session == NULL)
            continue;
        session_open(s->legs[i].session);
        /* libpq looks names up while we wait: a dead name server is waited for once, not thrice */
        if (session_is_broken(s->legs[i].session))
            return;
    }
}

/* ---- what the sessions report ---- */

static void checks_passed(void *ctx)
{
    struct outbox_source *s = ctx;

    s->was_open = true;
    s->checking = false;
    days_start(s->days);
    retention_start(s->retention);
    backlog_start(s->backlog);
    s->events->opened(s->ctx);
}

/* Behind one address, or several, may stand two servers that both take writes, for a moment of a
 * failover: a snapshot of one of them must not become the position in the other. */
static bool is_one_server(const struct outbox_source *s)
{
    for (int i = 0; i < SESSIONS; i++)
        if (s->legs[i].session != NULL && (i != LANES || s->lanes_open) &&
            memcmp(s->legs[i].server, s->legs[CONTROL].server, sizeof s->legs[i].server) != 0)
            return false;
    return true;
}

static void take_server(void *ctx, PGresult *result)
{
    struct leg *leg = ctx;

    if (PQntuples(result) == 1 && PQgetlength(result, 0, 0) == (int)sizeof leg->server)
        memcpy(leg->server, PQgetvalue(result, 0, 0), sizeof leg->server);
    PQclear(result);
}

/* False, and a session breaks, when they came to different servers. */
static bool expect_one_server(const struct outbox_source *s)
{
    struct err err;

    if (is_one_server(s))
        return true;
    (void)err_problem(&err, ERR_UNAVAILABLE, PROBLEM_DATABASE_ERROR,
                      "the sessions came to different servers, of which one may lead no longer");
    session_fail(s->legs[CONTROL].session, &err);
    return false;
}

static void leg_is_ready(void *ctx)
{
    struct outbox_source *s = ctx;

    if (++s->ready < s->wanted || !expect_one_server(s))
        return;
    s->checking = true;
    checks_run(s->checks);
}

static void lanes_are_ready(void *ctx)
{
    const struct outbox_source *s = ctx;

    if (expect_one_server(s))
        reader_go(s->lane_reader);
}

static void leg_connected(void *ctx)
{
    struct leg *leg = ctx;
    struct outbox_source *s = leg->source;

    session_query(leg->session, &(struct session_query){.name = "server",
                                                        .timeout_ms = s->timeout_ms,
                                                        .result = take_server,
                                                        .ctx = leg});
    if (leg->number == READ)
        reader_setup(s->reader, leg_is_ready, s);
    else if (leg->number == CONTROL)
        progress_setup(s->progress, leg_is_ready, s);
    else if (leg->number == LANES)
        reader_setup(s->lane_reader, lanes_are_ready, s);
    else
        doorbell_setup(s->doorbell, leg_is_ready, s);
}

static void leg_broke(void *ctx, const struct err *why)
{
    const struct leg *leg = ctx;
    struct outbox_source *s = leg->source;
    struct err err = *why;
    bool refused_late = s->was_open && !s->checking;

    source_close(s);
    if (err.kind == ERR_CONFIG && refused_late)
        err.kind = ERR_UNAVAILABLE;
    /* which of the sessions was refused first is chance, and a text that changes is logged anew */
    if (strncmp(err.text, "connect: ", strlen("connect: ")) == 0)
        (void)err_wrap(&err, "postgres");
    else
        (void)err_wrap(&err, "postgres (%s)", roles[leg->number]);
    s->events->lost(s->ctx, &err);
}

static void leg_notified(void *ctx)
{
    const struct leg *leg = ctx;

    doorbell_notified(leg->source->doorbell);
}

/* ---- ops ---- */

static void source_take(void *ctx, enum take_mode mode, int64_t seen_epoch, int64_t seen_beat)
{
    progress_take(((struct outbox_source *)ctx)->progress, mode, seen_epoch, seen_beat);
}

static void source_renew(void *ctx, int64_t epoch)
{
    progress_renew(((struct outbox_source *)ctx)->progress, epoch);
}

static void source_store(void *ctx, int64_t epoch, const struct store_request *request)
{
    progress_store(((struct outbox_source *)ctx)->progress, epoch, request);
}

static void source_change(void *ctx, int64_t epoch, const struct lane_change *change)
{
    progress_change(((struct outbox_source *)ctx)->progress, epoch, change);
}

static void source_release(void *ctx)
{
    progress_release(((struct outbox_source *)ctx)->progress);
}

static void source_tell(void *ctx, int64_t epoch, const struct trouble *trouble)
{
    progress_tell(((struct outbox_source *)ctx)->progress, epoch, trouble);
}

static void source_poll(void *ctx, const struct str *base, uint32_t max_rows, size_t max_bytes)
{
    reader_poll(((struct outbox_source *)ctx)->reader, base, max_rows, max_bytes);
}

/* A lane's first read opens the session that it needs, and waits for it. */
static struct reader *reader_of(struct outbox_source *s, uint32_t stream)
{
    if (stream == MAIN_STREAM)
        return s->reader;
    if (!s->lanes_open) {
        s->lanes_open = true;
        session_open(s->legs[LANES].session);
    }
    return s->lane_reader;
}

static void source_probe(void *ctx, uint32_t stream, const struct position *position,
                         uint32_t few_rows)
{
    reader_probe(reader_of(ctx, stream), stream, position, few_rows);
}

static void source_page(void *ctx, uint32_t stream, const struct page_request *request)
{
    reader_page(reader_of(ctx, stream), stream, request);
}

static void source_resume(void *ctx, uint32_t stream)
{
    reader_resume(reader_of(ctx, stream));
}

static void source_drop_rest(void *ctx, uint32_t stream)
{
    reader_drop_rest(reader_of(ctx, stream));
}

static void source_rest(void *ctx)
{
    struct outbox_source *s = ctx;

    if (s->lanes_open)
        session_close(s->legs[LANES].session);
    s->lanes_open = false;
    reader_forget(s->lane_reader);
}

static void source_arm(void *ctx, uint32_t bell)
{
    doorbell_arm(((struct outbox_source *)ctx)->doorbell, bell);
}

static void source_disarm(void *ctx, uint32_t bell)
{
    doorbell_disarm(((struct outbox_source *)ctx)->doorbell, bell);
}

const struct source_ops outbox_source_ops = {
    .open = source_open,
    .close = source_close,
    .take = source_take,
    .renew = source_renew,
    .store = source_store,
    .change = source_change,
    .release = source_release,
    .tell = source_tell,
    .poll = source_poll,
    .probe = source_probe,
    .page = source_page,
    .resume = source_resume,
    .drop_rest = source_drop_rest,
    .rest = source_rest,
    .arm = source_arm,
    .disarm = source_disarm,
};

/* ---- life ---- */

static void make_legs(struct outbox_source *s, const struct outbox_params *params,
                      struct event_base *base)
{
    static const struct session_handlers handlers = {
        .connected = leg_connected, .broken = leg_broke, .notified = leg_notified};
    struct str name = {0};

    for (int i = 0; i < SESSIONS; i++) {
        s->legs[i].source = s;
        s->legs[i].number = i;
        if (i == BELL && !params->doorbell)
            continue;
        str_reset(&name);
        str_printf(&name, "outboxd %s %s", params->relay, roles[i]);
        s->legs[i].session =
            session_new(&(struct session_params){.base = base,
                                                 .url = params->url,
                                                 .password = params->password,
                                                 .application_name = name.data,
                                                 .hosts = s->hosts,
                                                 .connect_timeout_ms = params->connect_timeout_ms},
                        &handlers, &s->legs[i]);
        s->wanted += i != LANES;
    }
    str_release(&name);
}

/* What looks after the tables, or only looks, beside the relay's own work. */
static void make_caretakers(struct outbox_source *s, const struct outbox_params *params,
                            struct event_base *base)
{
    s->days = days_new(&(struct days_params){.base = base,
                                             .session = s->legs[CONTROL].session,
                                             .now_ms = params->now_ms,
                                             .lease_ttl_ms = params->lease_ttl_ms,
                                             .timeout_ms = params->statement_timeout_ms,
                                             .first_ms = DAYS_FIRST_MS,
                                             .every_ms = DAYS_EVERY_MS,
                                             .retry_ms = DAYS_RETRY_MS});
    s->retention =
        retention_new(&(struct retention_params){.base = base,
                                                 .session = s->legs[CONTROL].session,
                                                 .now_ms = params->now_ms,
                                                 .keep_ms = params->retention_keep_ms,
                                                 .lease_ttl_ms = params->lease_ttl_ms,
                                                 .timeout_ms = params->statement_timeout_ms,
                                                 .first_ms = RETENTION_FIRST_MS,
                                                 .soon_ms = RETENTION_SOON_MS,
                                                 .every_ms = RETENTION_EVERY_MS,
                                                 .retry_ms = RETENTION_RETRY_MS});
    s->backlog =
        backlog_new(&(struct backlog_params){.base = base,
                                             .url = params->url,
                                             .password = params->password,
                                             .hosts = s->hosts,
                                             .relay = params->relay,
                                             .now_ms = params->now_ms,
                                             .retention_keep_ms = params->retention_keep_ms,
                                             .connect_timeout_ms = params->connect_timeout_ms,
                                             .timeout_ms = params->statement_timeout_ms,
                                             .first_ms = BACKLOG_FIRST_MS,
                                             .every_ms = BACKLOG_EVERY_MS});
}

static struct reader *make_reader(const struct outbox_source *s, const struct outbox_params *params,
                                  struct event_base *base, int leg)
{
    return reader_new(&(struct reader_params){.base = base,
                                              .read = s->legs[leg].session,
                                              .control = s->legs[CONTROL].session,
                                              .events = s->events,
                                              .ctx = s->ctx,
                                              .routes = params->routes,
                                              .timeout_ms = params->statement_timeout_ms,
                                              .max_event_bytes = params->max_event_bytes});
}

struct outbox_source *outbox_source_new(const struct outbox_params *params, struct event_base *base,
                                        const struct source_events *events, void *ctx)
{
    struct outbox_source *s = xcalloc(1, sizeof(*s));

    s->events = events;
    s->ctx = ctx;
    s->relay = xstrdup(params->relay);
    s->hosts = hosts_new();
    s->timeout_ms = params->statement_timeout_ms;
    make_legs(s, params, base);
    s->reader = make_reader(s, params, base, READ);
    s->lane_reader = make_reader(s, params, base, LANES);
    s->progress = progress_new(&(struct progress_params){
        .control = s->legs[CONTROL].session,
        .events = events,
        .ctx = ctx,
        .relay = params->relay,
        .instance = params->instance,
        .routes_mark = params->routes != NULL ? (int64_t)route_table_mark(params->routes) : 0,
        .lease_ttl_ms = params->lease_ttl_ms,
        .timeout_ms = params->statement_timeout_ms});
    s->doorbell =
        doorbell_new(&(struct doorbell_params){.base = base,
                                               .session = s->legs[BELL].session,
                                               .events = events,
                                               .ctx = ctx,
                                               .lease_ttl_ms = params->lease_ttl_ms,
                                               .timeout_ms = params->statement_timeout_ms});
    s->checks = checks_new(&(struct checks_params){.session = s->legs[CONTROL].session,
                                                   .relay = s->relay,
                                                   .timeout_ms = params->statement_timeout_ms,
                                                   .doorbell = params->doorbell,
                                                   .passed = checks_passed,
                                                   .ctx = s});
    make_caretakers(s, params, base);
    return s;
}

void outbox_source_backlog(const struct outbox_source *s, struct backlog *out)
{
    backlog_get(s->backlog, out);
}

void outbox_source_free(struct outbox_source *s)
{
    if (s == NULL)
        return;
    source_close(s);
    reader_free(s->reader);
    reader_free(s->lane_reader);
    progress_free(s->progress);
    doorbell_free(s->doorbell);
    checks_free(s->checks);
    days_free(s->days);
    retention_free(s->retention);
    backlog_free(s->backlog);
    for (int i = 0; i < SESSIONS; i++)
        session_free(s->legs[i].session);
    hosts_free(s->hosts);
    free(s->relay);
    free(s);
}
