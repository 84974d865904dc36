/* `outboxd top`: asks a running relay once a second and draws what it says. An answer that does not
 * come is told in the picture, and asked for again: the relay may be restarting. */
#include "app/ask.h"
#include "app/commands.h"
#include "app/terminal.h"
#include "app/top_picture.h"
#include "base/clock.h"
#include "ops/endpoints.h"
#include "settings/settings.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REFRESH_MS    1000U
#define PATIENCE_MS   1000U /* a key counts only when an answer is there, or is given up */
#define DEFAULT_PORT  "9464"
#define ADDRESSES_MAX 8

struct top {
    char shown[256];   /* whom we ask, as the picture names it */
    const char *relay; /* who must answer; NULL: anyone */
    struct address addresses[ADDRESSES_MAX];
    size_t address_count;
    struct ask_answer answer;
    struct top_view view;
    bool seen; /* `view` holds an answer */
    struct top_history history;
    uint64_t answered_ms;
    struct err why; /* why the latest question has none */
};

/* ---- whom to ask
 * -------------------------------------------------------------------------------------------------
 */

/* "http://host:port/" into its parts; scheme, port and the last slash may be missing. */
static int split_url(const char *url, struct str *host, struct str *port, struct err *err)
{
    const char *at = strncmp(url, "http://", 7) == 0 ? url + 7 : url;
    const char *after;
    size_t len;

    if (at[0] == '[') {
        at++;
        len = strcspn(at, "]");
        after = at[len] == ']' ? at + len + 1 : "no end";
    } else {
        len = strcspn(at, ":/");
        after = at + len;
    }
    str_put(host, at, len);
    if (*after == ':') {
        len = strspn(after + 1, "0123456789");
        str_put(port, after + 1, len);
        after += len + 1;
    } else {
        str_puts(port, DEFAULT_PORT);
    }
    if (host->len == 0 || port->len == 0 || (strcmp(after, "") != 0 && strcmp(after, "/") != 0))
        return err_set(err, ERR_USAGE,
                       "--url %.80s is no address; such as http://10.0.0.7:9464, or host:port",
                       url);
    return 0;
}

/* A name can have several addresses, and the relay listens on one of them. */
static int look_up(struct top *t, const char *host, const char *port, struct err *err)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int rc = getaddrinfo(host, port, &hints, &found);

    if (rc != 0)
        return err_set(err, ERR_UNAVAILABLE, "%s: %s", t->shown, gai_strerror(rc));
    for (const struct addrinfo *a = found; a != NULL && t->address_count < ADDRESSES_MAX;
         a = a->ai_next) {
        struct address *out = &t->addresses[t->address_count];

        if (a->ai_addrlen > sizeof out->socket)
            continue;
        memcpy(&out->socket, a->ai_addr, a->ai_addrlen);
        out->len = a->ai_addrlen;
        t->address_count++;
    }
    freeaddrinfo(found);
    return 0;
}

static int use_url(struct top *t, const char *url, struct err *err)
{
    struct str host = {0};
    struct str port = {0};
    int rc;

    top_clean(t->shown, sizeof t->shown, url);
    rc = split_url(url, &host, &port, err);
    if (rc == 0)
        rc = look_up(t, host.data, port.data, err);
    str_release(&host);
    str_release(&port);
    return rc;
}

static int use_settings(struct top *t, const struct settings *s, struct err *err)
{
    if (ask_address(s->http.listen, &t->addresses[0], err) != 0)
        return -1;
    (void)snprintf(t->shown, sizeof t->shown, "%s", s->http.listen);
    t->relay = s->relay.name;
    t->address_count = 1;
    return 0;
}

/* ---- asking
 * --------------------------------------------------------------------------------------------------
 */

static int judge(struct top *t, struct err *err)
{
    struct top_view view;

    if (t->answer.status != 200)
        return err_set(err, ERR_UNAVAILABLE, "what answers there knows no %s (status %d)",
                       OPS_STATUS_PATH, t->answer.status);
    if (top_view_parse(&view, str_slice(&t->answer.body), err) != 0)
        return -1;
    if (t->relay != NULL && strcmp(view.relay, t->relay) != 0)
        return err_problem(err, ERR_UNAVAILABLE, PROBLEM_HTTP_PORT_TAKEN,
                           "the relay %s answers there, not %s", view.relay, t->relay);
    t->view = view;
    return 0;
}

/* The address that answered stays the first one. */
static int ask_any(struct top *t, struct err *err)
{
    int rc = -1;

    for (size_t i = 0; rc != 0 && i < t->address_count; i++) {
        rc = ask_http(&t->addresses[i], OPS_STATUS_PATH, PATIENCE_MS, &t->answer, err);
        if (rc == 0 && i > 0) {
            struct address better = t->addresses[i];

            t->addresses[i] = t->addresses[0];
            t->addresses[0] = better;
        }
    }
    return rc;
}

static int look(struct top *t)
{
    uint64_t now = clock_now_ms();

    err_clear(&t->why);
    if (ask_any(t, &t->why) != 0 || judge(t, &t->why) != 0)
        return -1;
    t->seen = true;
    t->answered_ms = now;
    top_history_add(&t->history, &t->view, (double)now / 1000);
    return 0;
}

/* ---- showing
 * -------------------------------------------------------------------------------------------------
 */

static bool speaks_utf8(void)
{
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const char *value = getenv(names[i]);

        if (value != NULL && value[0] != '\0')
            return strcasestr(value, "utf-8") != NULL || strcasestr(value, "utf8") != NULL;
    }
    return false;
}

static void draw(const struct top *t, struct top_screen *s, struct str *out)
{
    top_picture(s, t->seen ? &t->view : NULL, &t->history, out);
}

static int show_once(struct top *t, struct err *err)
{
    struct top_screen s = {.columns = 80, .address = t->shown, .unicode = speaks_utf8()};
    struct str text = {0};

    if (look(t) != 0) {
        *err = t->why;
        return err_wrap(err, "%s", t->shown);
    }
    draw(t, &s, &text);
    (void)fputs(str_text(&text), stdout);
    str_release(&text);
    return 0;
}

static bool show(const struct top *t, bool answered, struct str *text)
{
    struct top_screen s = {.colour = getenv("NO_COLOR") == NULL,
                           .unicode = speaks_utf8(),
                           .address = t->shown,
                           .no_answer = answered ? NULL : t->why.text,
                           .silent_s = (double)(clock_now_ms() - t->answered_ms) / 1000};

    terminal_size(&s.columns, &s.rows);
    s.rows = s.rows > 2 ? s.rows - 1 : 1; /* the last one is the footer's */
    str_reset(text);
    draw(t, &s, text);
    return terminal_show(text, "q: quit");
}

static int watch(struct top *t, struct err *err)
{
    struct terminal terminal;
    struct str text = {0};
    bool goes_on = true;

    if (terminal_open(&terminal, err) != 0)
        return -1;
    t->answered_ms = clock_now_ms();
    while (goes_on) {
        uint64_t due = clock_now_ms() + REFRESH_MS;
        bool answered = look(t) == 0;
        enum terminal_event event = TERMINAL_REDRAW;

        while (goes_on && event == TERMINAL_REDRAW) {
            uint64_t now = clock_now_ms();

            goes_on = show(t, answered, &text);
            event = terminal_wait(&terminal, now < due ? (uint32_t)(due - now) : 0);
        }
        goes_on = goes_on && event != TERMINAL_QUIT;
    }
    terminal_close(&terminal);
    str_release(&text);
    return 0;
}

int command_top(const struct cli *c, struct err *err)
{
    struct settings settings = {0};
    struct top top = {0};
    int rc;

    top_history_init(&top.history);
    if (c->url != NULL) {
        rc = use_url(&top, c->url, err);
    } else {
        rc = settings_load(&settings, c->config, err);
        if (rc == 0)
            rc = use_settings(&top, &settings, err);
    }
    if (rc == 0)
        rc = c->once || isatty(STDOUT_FILENO) == 0 ? show_once(&top, err) : watch(&top, err);
    ask_answer_release(&top.answer);
    settings_release(&settings);
    return rc;
}
