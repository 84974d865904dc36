#include "state_looks.h"

#include "check.h"
#include "http.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- failing with all that is known ---- */

void state_fail(const struct state *s, const char *fmt, ...)
{
    static const char *const paths[] = {"/readyz", "/status", "/metrics"};
    char out[OUTBOXD_OUT];
    char what[1024];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        struct http_answer a = http_get(s->port, paths[i], ASK_MS);

        (void)fprintf(stderr, "--- %s %d\n%s\n", paths[i], a.code, a.body == NULL ? "" : a.body);
        http_answer_release(&a);
    }
    (void)fprintf(stderr, "--- status %d\n", outboxd_command(&s->relay, "status", NULL, out));
    (void)fprintf(stderr, "%s---\n", out);
    outboxd_fail(&s->relay, "%s", what);
}

/* ---- /metrics ---- */

/* The value behind the name in the text; NAN: there is none. */
static double value_in(const char *metrics, const char *name)
{
    size_t len = strlen(name);

    for (const char *line = metrics; line != NULL && *line != '\0';) {
        if (strncmp(line, name, len) == 0 && line[len] == ' ')
            return strtod(line + len, NULL);
        line = strchr(line, '\n');
        line = line == NULL ? NULL : line + 1;
    }
    return (double)NAN;
}

double state_metric(const struct state *s, const char *name)
{
    struct http_answer a = http_get(s->port, "/metrics", ASK_MS);
    double value = a.code == 200 ? value_in(a.body, name) : (double)NAN;

    http_answer_release(&a);
    return value;
}

/* How many problems the metrics name as present. */
static int troubles_in(const char *metrics)
{
    return occurrences(metrics, "\noutboxd_trouble{");
}

void look_at_metrics(const struct state *s, enum problem p)
{
    struct http_answer a = http_get(s->port, "/metrics", ASK_MS);
    char name[128];
    int wanted = p == PROBLEM_NONE ? 0 : 1;

    if (a.code != 200)
        state_fail(s, "/metrics: %d", a.code);
    if (value_in(a.body, "outboxd_ready") != 1 - wanted)
        state_fail(s, "outboxd_ready is not %d", 1 - wanted);
    if (troubles_in(a.body) != wanted)
        state_fail(s, "%d lines of outboxd_trouble", troubles_in(a.body));
    if (p != PROBLEM_NONE) {
        (void)snprintf(name, sizeof name, "outboxd_trouble{cause=\"%s\"}", problem_word(p));
        if (value_in(a.body, name) != 1)
            state_fail(s, "no metric %s", name);
        (void)snprintf(name, sizeof name, "outboxd_errors_total{class=\"%s\"}", problem_word(p));
        if (p != PROBLEM_PAUSED && !(value_in(a.body, name) >= 1))
            state_fail(s, "%s does not count", name);
    }
    http_answer_release(&a);
}

/* ---- /readyz and /status ---- */

int state_ready_code(const struct state *s)
{
    struct http_answer a = http_get(s->port, "/readyz", ASK_MS);
    int code = a.code;

    http_answer_release(&a);
    return code;
}

static const char *text_of(const json_t *doc, const char *key)
{
    const char *text = json_string_value(json_object_get(doc, key));

    return text == NULL ? "" : text;
}

/* What /readyz calls the problem now; "" when it is ready, on its way, or away. */
bool ready_names(const struct state *s, const char *word)
{
    struct http_answer a = http_get(s->port, "/readyz", ASK_MS);
    json_t *doc = a.code == 503 ? json_loads(a.body, 0, NULL) : NULL;
    bool named = doc != NULL && strcmp(text_of(doc, "problem"), word) == 0;

    json_decref(doc);
    http_answer_release(&a);
    return named;
}

/* The same three texts, wherever a problem is shown as JSON. */
static void look_at_json(const struct state *s, const json_t *shown, const char *word_key,
                         enum problem p, const char *text, const char *where)
{
    if (strcmp(text_of(shown, word_key), problem_word(p)) != 0)
        state_fail(s, "%s names \"%s\"", where, text_of(shown, word_key));
    if (strcmp(text_of(shown, "what"), problem_what(p)) != 0)
        state_fail(s, "%s says what: \"%s\"", where, text_of(shown, "what"));
    if (strcmp(text_of(shown, "todo"), problem_advice(p)) != 0)
        state_fail(s, "%s says todo: \"%s\"", where, text_of(shown, "todo"));
    HOLDS(s, text_of(shown, "text"), text, where);
}

void look_at_endpoints(const struct state *s, enum problem p, const char *text)
{
    struct http_answer ready = http_get(s->port, "/readyz", ASK_MS);
    struct http_answer status = http_get(s->port, "/status", ASK_MS);
    struct http_answer live = http_get(s->port, "/livez", ASK_MS);
    json_t *at_ready = json_loads(ready.body == NULL ? "" : ready.body, 0, NULL);
    json_t *at_status = json_loads(status.body == NULL ? "" : status.body, 0, NULL);

    if (ready.code != 503 || at_ready == NULL || json_is_true(json_object_get(at_ready, "ready")))
        state_fail(s, "/readyz: %d", ready.code);
    look_at_json(s, at_ready, "problem", p, text, "/readyz");
    if (status.code != 200 || !json_is_false(json_object_get(at_status, "ready")))
        state_fail(s, "/status: %d", status.code);
    look_at_json(s, json_object_get(at_status, "problem"), "word", p, text, "/status");
    if (live.code != 200)
        state_fail(s, "/livez: %d", live.code);
    json_decref(at_ready);
    json_decref(at_status);
    http_answer_release(&ready);
    http_answer_release(&status);
    http_answer_release(&live);
}

/* ---- `outboxd status` ---- */

/* Runs of blanks and line ends become one blank: a text may be broken at any of them. */
static void squeeze(char *text)
{
    char *to = text;

    for (const char *p = text; *p != '\0'; p++) {
        bool blank = *p == ' ' || *p == '\n';

        if (!blank)
            *to++ = *p;
        else if (to > text && to[-1] != ' ')
            *to++ = ' ';
    }
    *to = '\0';
}

void holds_squeezed(const struct state *s, const char *squeezed, const char *part,
                    const char *where)
{
    char *wanted = strdup(part);

    squeeze(wanted);
    HOLDS(s, squeezed, wanted, where);
    free(wanted);
}

static void fits_a_terminal(const struct state *s, const char *text)
{
    for (const char *line = text; *line != '\0';) {
        size_t len = strcspn(line, "\n");

        /* the command's own error comes after the report, on stderr */
        if (len > 80 && strncmp(line, "outboxd: ", strlen("outboxd: ")) != 0)
            state_fail(s, "`outboxd status` has a line of %zu bytes", len);
        line += len + (line[len] == '\n');
    }
}

void ask_status(const struct state *s, struct told *t)
{
    static const char *const json[] = {"--json", NULL};
    char out[OUTBOXD_OUT];

    t->json_code = outboxd_command(&s->relay, "status", json, out);
    /* on stderr an error follows */
    t->doc = json_loads(out, JSON_DISABLE_EOF_CHECK, NULL);
    t->code = outboxd_command(&s->relay, "status", NULL, t->text);
    if (t->code == 0 || t->doc != NULL)
        fits_a_terminal(s, t->text);
    squeeze(t->text);
}

/* The first word of a problem that the JSON names; "": none. */
static const char *named(const json_t *doc)
{
    return text_of(json_object_get(doc, "problem"), "word");
}

/* The database is a moment behind the relay that writes to it. */
void look_at_status(const struct state *s, enum problem p, const char *text)
{
    const uint64_t end = test_now_ms() + SHOWN_MS;
    const char *word = problem_word(p);
    struct told t;

    for (ask_status(s, &t); strcmp(named(t.doc), word) != 0; ask_status(s, &t)) {
        if (test_now_ms() >= end)
            state_fail(s, "`outboxd status --json` names \"%s\" instead of %s", named(t.doc), word);
        json_decref(t.doc);
        test_sleep_ms(50);
    }
    if (t.code != t.json_code)
        state_fail(s, "`outboxd status` ends with %d, and with %d as JSON", t.code, t.json_code);
    look_at_json(s, json_object_get(t.doc, "problem"), "word", p, text, "`outboxd status --json`");
    holds_squeezed(s, t.text, word, "`outboxd status`");
    holds_squeezed(s, t.text, problem_advice(p), "`outboxd status`");
    holds_squeezed(s, t.text, text, "`outboxd status`");
    json_decref(t.doc);
}

static bool is_well(const struct told *t)
{
    return t->code == 0 && t->json_code == 0 && t->doc != NULL && named(t->doc)[0] == '\0' &&
           strstr(t->text, "orders: ok") != NULL;
}

void look_at_status_well(const struct state *s)
{
    const uint64_t end = test_now_ms() + SHOWN_MS;
    struct told t;

    for (ask_status(s, &t); !is_well(&t); ask_status(s, &t)) {
        if (test_now_ms() >= end)
            state_fail(s, "`outboxd status` does not say ok: it ends with %d and %d, names \"%s\"",
                       t.code, t.json_code, named(t.doc));
        json_decref(t.doc);
        test_sleep_ms(50);
    }
    json_decref(t.doc);
}

/* ---- the log ---- */

int lines_with(const struct state *s, const char *one, const char *two, const char *three)
{
    char *log = file_read(s->relay.log);
    char *rest = log;
    int n = 0;

    for (char *line; (line = strsep(&rest, "\n")) != NULL;)
        n += strstr(line, one) != NULL && strstr(line, two) != NULL && strstr(line, three) != NULL;
    free(log);
    return n;
}

/* One line, or up to three while more becomes known (which topic, that it is given up): not one for
 * each attempt. With the advice and the particular. */
void look_at_log(const struct state *s, enum problem p, const char *text)
{
    char field[64];
    char advice[512];
    int lines;

    (void)snprintf(field, sizeof field, " problem=%s ", problem_word(p));
    (void)snprintf(advice, sizeof advice, " advice=\"%s\"", problem_advice(p));
    lines = lines_with(s, field, "", "");
    if (lines < 1 || lines > 3)
        state_fail(s, "%d lines of the log hold%s", lines, field);
    if (lines_with(s, field, advice, text) != lines)
        state_fail(s, "a line with%sdoes not hold%s and %s", field, advice, text);
}

/* ---- `outboxd health` and errors ---- */

/* The one line by which a command, or `run`, ends. */
void look_at_last_line(const struct state *s, const char *output, enum problem p, const char *text,
                       const char *where)
{
    const char *line = strstr(output, "outboxd: ");
    char begin[96];
    char end[512];
    size_t len;

    (void)snprintf(begin, sizeof begin, "outboxd: %s: ", problem_word(p));
    (void)snprintf(end, sizeof end, " -> %s\n", problem_advice(p));
    while (line != NULL && strstr(line + 1, "\noutboxd: ") != NULL)
        line = strstr(line + 1, "\noutboxd: ") + 1;
    if (line == NULL || strncmp(line, begin, strlen(begin)) != 0)
        state_fail(s, "%s does not end with a line that begins so: %s", where, begin);
    HOLDS(s, line, text, where);
    len = strlen(line);
    if (len < strlen(end) || strcmp(line + len - strlen(end), end) != 0)
        state_fail(s, "%s does not end so: %s", where, end);
}

void look_at_health(const struct state *s, enum problem p, const char *text)
{
    char out[OUTBOXD_OUT];
    int code = outboxd_command(&s->relay, "health", NULL, out);

    if (code != (p == PROBLEM_NONE ? 0 : 69))
        state_fail(s, "`outboxd health` ends with %d: %s", code, out);
    if (p != PROBLEM_NONE)
        look_at_last_line(s, out, p, text, "`outboxd health`");
}

/* As an error of the command when there is nothing to be told, else as part of what it tells. */
void look_at_refusal(const struct state *s, enum problem p, const char *text, int code)
{
    char out[OUTBOXD_OUT];
    struct told t;

    ask_status(s, &t);
    if (t.code != code || t.json_code != code)
        state_fail(s, "`outboxd status` ends with %d, and with %d as JSON, not with %d", t.code,
                   t.json_code, code);
    if (t.doc != NULL) {
        look_at_status(s, p, text);
    } else {
        (void)outboxd_command(&s->relay, "status", NULL, out);
        look_at_last_line(s, out, p, text, "`outboxd status`");
    }
    json_decref(t.doc);
}
