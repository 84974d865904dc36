#include "state.h"

#include "http.h"
#include "state_looks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void state_configure(struct state *s, const char *url, const char *kafka, const char *relay_extra,
                     const char *extra)
{
    char text[4096];

    *s = (struct state){.port = port_free()};
    (void)snprintf(text, sizeof text,
                   "postgres: {url: \"%s\"}\nkafka: {%s}\n"
                   "relay: {name: orders, instance: test%s}\n"
                   "http: {listen: \"127.0.0.1:%d\"}\n%s\n" ROUTES_THAT_HALT,
                   url, kafka, relay_extra == NULL ? "" : relay_extra, s->port,
                   extra == NULL ? "" : extra);
    outboxd_configure_text(&s->relay, text);
}

void state_start(struct state *s)
{
    outboxd_start(&s->relay);
    state_is_well(s);
    outboxd_log_truncate(&s->relay);
}

/* ---- what must be seen ---- */

static void wait_for_ready(const struct state *s)
{
    const uint64_t end = test_now_ms() + SHOWN_MS;

    while (state_ready_code(s) != 200) {
        if (test_now_ms() >= end)
            state_fail(s, "not ready");
        test_sleep_ms(10);
    }
}

void state_is_well(struct state *s)
{
    struct http_answer a;

    wait_for_ready(s);
    look_at_metrics(s, PROBLEM_NONE);
    a = http_get(s->port, "/status", ASK_MS);
    if (a.code != 200)
        state_fail(s, "/status: %d", a.code);
    HOLDS(s, a.body, "\"problem\": null", "/status");
    http_answer_release(&a);
    look_at_health(s, PROBLEM_NONE, "");
    look_at_status_well(s);
}

static void wait_for_problem(const struct state *s, enum problem p)
{
    const uint64_t end = test_now_ms() + SHOWN_MS;

    while (!ready_names(s, problem_word(p))) {
        if (test_now_ms() >= end)
            state_fail(s, "/readyz does not name %s", problem_word(p));
        test_sleep_ms(10);
    }
}

void state_tells(struct state *s, enum problem p, const char *text)
{
    wait_for_problem(s, p);
    look_at_endpoints(s, p, text);
    look_at_health(s, p, text);
    look_at_metrics(s, p);
    look_at_log(s, p, text);
    look_at_status(s, p, text);
}

void state_names_event(struct state *s, const char *event_id)
{
    struct http_answer a = http_get(s->port, "/readyz", ASK_MS);
    struct told t;

    HOLDS(s, a.body == NULL ? "" : a.body, event_id, "/readyz");
    http_answer_release(&a);
    if (state_metric(s, "outboxd_halted") != 1)
        state_fail(s, "outboxd_halted is not 1");
    ask_status(s, &t);
    HOLDS(s, t.text, "halted", "`outboxd status`");
    HOLDS(s, t.text, event_id, "`outboxd status`");
    json_decref(t.doc);
    if (lines_with(s, event_id, "halted", "") != 1)
        state_fail(s, "%d lines of the log tell of event %s", lines_with(s, event_id, "halted", ""),
                   event_id);
}

void state_tells_without_database(struct state *s, enum problem p, const char *text, int code)
{
    wait_for_problem(s, p);
    look_at_endpoints(s, p, text);
    look_at_health(s, p, text);
    look_at_metrics(s, p);
    look_at_log(s, p, text);
    look_at_refusal(s, p, text, code);
}

void state_ends(struct state *s, enum problem p, const char *text, int code)
{
    char *log;

    if (!proc_wait(&s->relay.proc, SHOWN_MS))
        state_fail(s, "it has not ended");
    if (proc_exit_code(&s->relay.proc) != code)
        state_fail(s, "it has ended with %d", proc_exit_code(&s->relay.proc));
    if (state_ready_code(s) != 0)
        state_fail(s, "somebody answers still");
    log = file_read(s->relay.log);
    look_at_last_line(s, log, p, text, "the log");
    free(log);
    look_at_refusal(s, p, text, code);
}

void state_warns(struct state *s, enum problem p, const char *text, const char *metric)
{
    const uint64_t end = test_now_ms() + SHOWN_MS;
    struct told t;

    while (!(state_metric(s, metric) > 0)) {
        if (test_now_ms() >= end)
            state_fail(s, "the metric %s does not rise", metric);
        test_sleep_ms(50);
    }
    if (state_ready_code(s) != 200)
        state_fail(s, "/readyz: %d", state_ready_code(s));
    look_at_metrics(s, PROBLEM_NONE);
    ask_status(s, &t);
    if (t.code != 0 || t.json_code != 0)
        state_fail(s, "`outboxd status` ends with %d, and with %d as JSON", t.code, t.json_code);
    holds_squeezed(s, t.text, problem_word(p), "`outboxd status`");
    holds_squeezed(s, t.text, problem_advice(p), "`outboxd status`");
    holds_squeezed(s, t.text, text, "`outboxd status`");
    json_decref(t.doc);
}

void state_warns_no_more(struct state *s, enum problem p)
{
    struct told t;

    ask_status(s, &t);
    if (strstr(t.text, problem_word(p)) != NULL)
        state_fail(s, "`outboxd status` warns of %s still", problem_word(p));
    json_decref(t.doc);
}

void state_logs(struct state *s, enum problem p, const char *text)
{
    char field[64];

    (void)snprintf(field, sizeof field, " problem=%s ", problem_word(p));
    outboxd_wait_log(&s->relay, field, SHOWN_MS);
    look_at_log(s, p, text);
}

void state_tells_of_pause(struct state *s, const char *reason)
{
    wait_for_problem(s, PROBLEM_PAUSED);
    look_at_endpoints(s, PROBLEM_PAUSED, "");
    look_at_health(s, PROBLEM_PAUSED, "");
    look_at_metrics(s, PROBLEM_PAUSED);
    if (state_metric(s, "outboxd_paused") != 1)
        state_fail(s, "outboxd_paused is not 1");
    if (lines_with(s, " msg=\"paused: ", "", "") != 1)
        state_fail(s, "%d lines of the log tell of the pause",
                   lines_with(s, " msg=\"paused: ", "", ""));
    look_at_status(s, PROBLEM_PAUSED, reason);
}

void state_is_gone(struct state *s, enum problem p)
{
    if (state_ready_code(s) != 0)
        state_fail(s, "somebody answers still");
    look_at_status(s, p, "");
}

void state_is_mended(struct state *s, enum problem p)
{
    char over[96];

    if (p == PROBLEM_NONE)
        (void)snprintf(over, sizeof over, " after=");
    else
        (void)snprintf(over, sizeof over, " after=%s for_s=", problem_word(p));
    state_is_well(s);
    if (!proc_alive(&s->relay.proc))
        state_fail(s, "it has ended");
    if (lines_with(s, over, "", "") != 1)
        state_fail(s, "%d lines of the log hold%s", lines_with(s, over, "", ""), over);
    outboxd_log_truncate(&s->relay);
}
