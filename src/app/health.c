/* `outboxd health`: asks the running process, over its own http.listen, whether it is ready (or,
 * with --live, whether its loop turns). For HEALTHCHECK and for scripts: quick, and a verdict in
 * the exit code. */
#include "app/ask.h"
#include "app/commands.h"
#include "ops/endpoints.h"
#include "settings/settings.h"

#include <jansson.h>
#include <stdio.h>

#define PATIENCE_MS 2000U

/* /readyz tells it in the words of the table of problems. */
static int not_ready(const struct ask_answer *answer, struct err *err)
{
    json_t *doc = json_loadb(str_text(&answer->body), answer->body.len, 0, NULL);
    const char *state = "";
    const char *word = "";
    const char *what = "";
    const char *text = "";

    (void)json_unpack(doc, "{s:s, s:s, s:s, s:s}", "state", &state, "problem", &word, "what", &what,
                      "text", &text);
    if (word[0] != '\0')
        (void)err_problem(err, ERR_UNAVAILABLE, problem_parse(word), "not ready (%s): %s%s%s",
                          state, what, text[0] == '\0' ? "" : ": ", text);
    else if (state[0] != '\0')
        (void)err_set(err, ERR_UNAVAILABLE, "not ready: %s", state);
    else
        (void)err_set(err, ERR_UNAVAILABLE, "not ready: status %d", answer->status);
    json_decref(doc);
    return -1;
}

static int judge(const struct cli *c, const struct settings *s, const struct ask_answer *answer,
                 struct err *err)
{
    /* whoever took the port first answers, and may be well */
    if (!ask_head_has(answer, OPS_RELAY_HEADER, s->relay.name))
        return err_problem(err, ERR_UNAVAILABLE, PROBLEM_HTTP_PORT_TAKEN,
                           "http.listen %s: what answers there is not the relay %s", s->http.listen,
                           s->relay.name);
    if (answer->status == 200) {
        (void)puts(c->live ? "alive" : "ready");
        return 0;
    }
    return not_ready(answer, err);
}

static int ask(const struct cli *c, const struct settings *s, struct err *err)
{
    struct address address;
    struct ask_answer answer = {0};
    int rc;

    if (ask_address(s->http.listen, &address, err) != 0)
        return -1;
    rc = ask_http(&address, c->live ? OPS_LIVE_PATH : OPS_READY_PATH, PATIENCE_MS, &answer, err);
    if (rc != 0)
        (void)err_wrap(err, "http.listen %s", s->http.listen);
    else
        rc = judge(c, s, &answer, err);
    ask_answer_release(&answer);
    return rc;
}

int command_health(const struct cli *c, struct err *err)
{
    struct settings settings = {0};
    int rc = settings_load(&settings, c->config, err);

    if (rc == 0)
        rc = ask(c, &settings, err);
    settings_release(&settings);
    return rc;
}
