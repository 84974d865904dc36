/* Header, trouble, figures, notes: what matters most stands on top, because a small terminal shows
 * only that. */
#include "app/top_picture.h"

#include "app/top_numbers.h"

#include <math.h>
#include <string.h>

enum style { STYLE_PLAIN, STYLE_GOOD, STYLE_WARN, STYLE_BAD, STYLE_DIM };

struct page {
    const struct top_screen *screen;
    const struct top_view *view;
    const struct top_history *history;
    struct str *out;
    struct str line; /* the one that is being written */
    unsigned rows;   /* written */
};

/* ---- lines
 * ---------------------------------------------------------------------------------------------------
 */

/* How many bytes of the line fit into the columns. Characters beyond the alphabets of Europe are
 * taken for two columns wide, which some are. */
static size_t fitting(const struct str *line, unsigned columns)
{
    size_t i = 0;
    size_t width = 0;

    while (i < line->len) {
        unsigned char c = (unsigned char)line->data[i];
        size_t len = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
        bool narrow = len < 3 || memcmp(line->data + i, "\xe2\x96", 2) == 0; /* our blocks */

        width += narrow ? 1 : 2;
        if (width > columns)
            break;
        i += len;
    }
    return i < line->len ? i : line->len;
}

/* Ends the line that p->line holds. */
static void end_line(struct page *p, enum style style)
{
    static const char *const begins[] = {"", "\033[32m", "\033[33m", "\033[1;31m", "\033[2m"};
    const struct top_screen *s = p->screen;

    if (s->rows == 0 || p->rows < s->rows) {
        bool coloured = s->colour && style != STYLE_PLAIN;

        str_puts(p->out, coloured ? begins[style] : "");
        str_put(p->out, str_text(&p->line), fitting(&p->line, s->columns));
        str_puts(p->out, coloured ? "\033[0m\n" : "\n");
        p->rows++;
    }
    str_reset(&p->line);
}

static void begin(struct page *p, const char *label)
{
    str_printf(&p->line, "  %-12s", label);
}

static void say(struct page *p, const char *text)
{
    str_puts(&p->line, text);
}

/* A text of any length, broken at blanks, behind a label. */
static void put_wrapped(struct page *p, const char *label, const char *text, enum style style)
{
    const size_t indent = 14;
    size_t room = p->screen->columns > indent + 10 ? p->screen->columns - indent : 10;

    do {
        size_t len = strlen(text);

        if (len > room) {
            len = room;
            while (len > 0 && text[len] != ' ')
                len--;
            len = len == 0 ? room : len;
            while (len > 0 && ((unsigned char)text[len] & 0xc0U) == 0x80)
                len--; /* not within a character */
        }
        begin(p, label);
        str_put(&p->line, text, len);
        end_line(p, style);
        text += len;
        text += strspn(text, " ");
        label = "";
    } while (*text != '\0');
}

/* ---- the parts
 * -----------------------------------------------------------------------------------------------
 */

static enum style style_of(const struct top_view *v)
{
    if (v->halted || (!v->ready && !v->paused))
        return STYLE_BAD;
    return v->paused || v->problem.word[0] != '\0' ? STYLE_WARN : STYLE_GOOD;
}

/* One word for the whole, as in `outboxd status`. */
static const char *verdict(const struct top_view *v)
{
    if (v->halted)
        return "halted";
    if (v->paused)
        return "paused";
    return v->problem.word[0] != '\0' ? "waiting" : v->ready ? "ok" : "not ready";
}

static void put_header(struct page *p)
{
    const struct top_view *v = p->view;

    str_printf(&p->line, "outboxd %s  relay %s: %s (%s)", v->version, v->relay, verdict(v),
               v->state);
    end_line(p, style_of(v));
    str_printf(&p->line, "  %s at %s, epoch ", v->instance, p->screen->address);
    top_put_count(&p->line, v->epoch);
    say(p, ", up ");
    top_put_age(&p->line, v->uptime_s);
    end_line(p, STYLE_DIM);
}

static void put_silence(struct page *p)
{
    const struct top_screen *s = p->screen;

    if (s->no_answer == NULL)
        return;
    if (p->view == NULL) {
        str_printf(&p->line, "outboxd top  %s", s->address);
        end_line(p, STYLE_PLAIN);
    }
    str_printf(&p->line, "NO ANSWER for ");
    top_put_age(&p->line, s->silent_s);
    str_printf(&p->line, ": %s; trying again%s", s->no_answer,
               p->view == NULL ? "" : ", what follows is old");
    end_line(p, STYLE_BAD);
}

static void put_problem(struct page *p)
{
    const struct top_problem *t = &p->view->problem;
    enum style style = style_of(p->view);

    if (t->word[0] == '\0')
        return;
    begin(p, "trouble");
    str_printf(&p->line, "%s, for ", t->word);
    top_put_age(&p->line, t->since_s);
    if (t->attempts > 0) {
        say(p, "; attempts ");
        top_put_count(&p->line, t->attempts);
    }
    if (t->next_try_s >= 0) {
        say(p, ", the next in ");
        top_put_age(&p->line, t->next_try_s);
    }
    end_line(p, style);
    put_wrapped(p, "", t->text, STYLE_PLAIN);
    if (t->topic[0] != '\0')
        put_wrapped(p, "topic", t->topic, STYLE_PLAIN);
    if (t->event_id[0] != '\0')
        put_wrapped(p, "event", t->event_id, STYLE_PLAIN);
    put_wrapped(p, "what to do", t->todo, STYLE_PLAIN);
    end_line(p, STYLE_PLAIN);
}

/* The rate of the last minutes, the newest at the right. */
static void put_curve(struct page *p)
{
    static const char *const blocks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    static const char *const marks[] = {"_", ".", ":", "-", "=", "+", "*", "#"};
    const struct top_history *h = p->history;
    size_t room = p->screen->columns > 24 ? p->screen->columns - 16 : 8;
    size_t n = h->count < room ? h->count : room;
    double most = 0;

    if (n < 2)
        return;
    for (size_t i = h->count - n; i < h->count; i++)
        most = fmax(most, h->rates[i]);
    begin(p, "");
    for (size_t i = h->count - n; i < h->count; i++) {
        size_t level = most > 0 ? (size_t)(h->rates[i] / most * 7.0 + 0.5) : 0;

        say(p, p->screen->unicode ? blocks[level] : marks[level]);
    }
    end_line(p, STYLE_DIM);
}

static void put_rate(struct page *p)
{
    const struct top_view *v = p->view;

    begin(p, "rate");
    top_put_count(&p->line, v->rate_1s);
    say(p, " events/s; over 10 s ");
    top_put_count(&p->line, v->rate_10s);
    say(p, ", over 60 s ");
    top_put_count(&p->line, v->rate_60s);
    end_line(p, STYLE_PLAIN);
    put_curve(p);
    begin(p, "published");
    top_put_count(&p->line, v->published_events);
    say(p, " events, ");
    top_put_bytes(&p->line, v->published_bytes);
    end_line(p, STYLE_PLAIN);
}

static void put_latency(struct page *p)
{
    bool recent = p->view->last_minute.count > 0;
    const struct top_latency *l = recent ? &p->view->last_minute : &p->view->since_start;

    begin(p, "latency");
    if (!(l->count > 0)) {
        say(p, "no event yet");
    } else {
        say(p, "p50 ");
        top_put_latency(&p->line, l->p50_s);
        say(p, "  p90 ");
        top_put_latency(&p->line, l->p90_s);
        say(p, "  p99 ");
        top_put_latency(&p->line, l->p99_s);
        say(p, recent ? "  (commit to ack, last minute)" : "  (commit to ack, since start)");
    }
    end_line(p, STYLE_PLAIN);
}

static void put_backlog(struct page *p)
{
    const struct top_view *v = p->view;

    begin(p, "unsent");
    if (!v->backlog_known) {
        say(p, "not known yet: the database has not answered");
        end_line(p, STYLE_PLAIN);
        return;
    }
    say(p, v->unsent_estimated ? "about " : "");
    top_put_count(&p->line, v->unsent_events);
    say(p, " events");
    if (v->oldest_unsent_s >= 0) {
        say(p, ", the oldest ");
        top_put_age(&p->line, v->oldest_unsent_s);
        say(p, " old");
    }
    say(p, "  (asked ");
    top_put_age(&p->line, v->backlog_age_s);
    say(p, " ago)");
    end_line(p, v->oldest_unsent_s > 60 ? STYLE_WARN : STYLE_PLAIN);
    begin(p, "lanes");
    if (v->lanes > 0) {
        top_put_count(&p->line, v->lanes);
        say(p, " beside the main one");
    } else {
        say(p, "only the main one");
    }
    end_line(p, v->lanes > 0 ? STYLE_WARN : STYLE_PLAIN);
}

static void put_bar(struct page *p, const char *label, double value, double capacity,
                    void (*put)(struct str *, double), const char *unit)
{
    size_t width = p->screen->columns >= 72 ? 30 : 10;
    double share = capacity > 0 && value >= 0 ? fmin(value / capacity, 1.0) : 0;
    size_t filled = (size_t)(share * (double)width + 0.5);

    if (filled == 0 && share > 0)
        filled = 1;
    begin(p, label);
    say(p, "[");
    for (size_t i = 0; i < width; i++)
        str_put_char(&p->line, i < filled ? '#' : '.');
    say(p, "] ");
    put(&p->line, value);
    say(p, " of ");
    put(&p->line, capacity);
    say(p, unit);
    end_line(p, STYLE_PLAIN);
}

static void put_since_start(struct page *p)
{
    const struct top_view *v = p->view;

    begin(p, "since start");
    say(p, "takeovers ");
    top_put_count(&p->line, v->takeovers);
    say(p, ", reconnects ");
    top_put_count(&p->line, v->reconnects);
    say(p, ", recoveries ");
    top_put_count(&p->line, v->recoveries);
    if (v->duplicates_possible > 0) {
        say(p, ", may repeat ");
        top_put_count(&p->line, v->duplicates_possible);
    }
    end_line(p, STYLE_PLAIN);
    if (v->error_count == 0)
        return;
    begin(p, "errors");
    for (size_t i = 0; i < v->error_count; i++) {
        str_printf(&p->line, "%s%s ", i == 0 ? "" : ", ", v->errors[i].word);
        top_put_count(&p->line, v->errors[i].count);
    }
    end_line(p, STYLE_PLAIN);
}

/* Only what somebody should look at. */
static void put_database(struct page *p)
{
    const struct top_view *v = p->view;

    if (v->oldest_transaction_s > 60) {
        begin(p, "database");
        say(p, "a transaction is open for ");
        top_put_age(&p->line, v->oldest_transaction_s);
        end_line(p, STYLE_WARN);
    }
    if (v->overdue_days > 0) {
        begin(p, "retention");
        top_put_count(&p->line, v->overdue_days);
        say(p, " days overdue: `outboxd status` names what keeps them");
        end_line(p, STYLE_WARN);
    }
    if (v->default_has_events)
        put_wrapped(p, "retention", "outbox.event_default holds events", STYLE_WARN);
}

static void put_process(struct page *p)
{
    const struct top_view *v = p->view;

    begin(p, "process");
    top_put_bytes(&p->line, v->resident_bytes);
    say(p, " resident, ");
    if (p->history->cpu_share >= 0)
        str_printf(&p->line, "%.0f %% of a processor, ", fmin(p->history->cpu_share, 99) * 100);
    top_put_count(&p->line, v->open_fds);
    say(p, " descriptors");
    end_line(p, STYLE_PLAIN);
}

static void put_notes(struct page *p)
{
    const struct top_view *v = p->view;

    for (size_t i = 0; i < v->note_count; i++) {
        const struct top_note *n = &v->notes[i];
        struct str age = {0};

        top_put_age(&age, n->age_s);
        str_printf(&p->line, "  %-8s %13s ago  %s", i == 0 ? "lately" : "", age.data, n->text);
        str_release(&age);
        if (n->times > 1) {
            say(p, ", ");
            top_put_count(&p->line, n->times);
            say(p, " times");
        }
        if (n->error[0] != '\0')
            str_printf(&p->line, ": %s", n->error);
        end_line(p, STYLE_DIM);
    }
}

void top_picture(const struct top_screen *s, const struct top_view *v, const struct top_history *h,
                 struct str *out)
{
    struct page p = {.screen = s, .view = v, .history = h, .out = out};

    if (v != NULL)
        put_header(&p);
    put_silence(&p);
    if (v != NULL) {
        put_problem(&p);
        put_rate(&p);
        put_latency(&p);
        put_backlog(&p);
        put_bar(&p, "window", v->window_events, v->window_capacity, top_put_count, " events");
        put_bar(&p, "", v->window_bytes, v->window_bytes_capacity, top_put_bytes, "");
        put_since_start(&p);
        put_database(&p);
        put_process(&p);
        put_notes(&p);
    }
    str_release(&p.line);
}

/* ---- history
 * ---------------------------------------------------------------------------------------------------
 */

void top_history_init(struct top_history *h)
{
    *h = (struct top_history){.cpu_s = (double)NAN, .cpu_share = (double)NAN};
}

void top_history_add(struct top_history *h, const struct top_view *v, double now_s)
{
    double passed = now_s - h->cpu_at_s;

    if (h->count == TOP_HISTORY)
        memmove(h->rates, h->rates + 1, --h->count * sizeof h->rates[0]);
    h->rates[h->count++] = v->rate_1s > 0 ? v->rate_1s : 0; /* NAN is none, too */
    h->cpu_share =
        v->cpu_s >= h->cpu_s && passed > 0 ? (v->cpu_s - h->cpu_s) / passed : (double)NAN;
    h->cpu_s = v->cpu_s;
    h->cpu_at_s = now_s;
}
