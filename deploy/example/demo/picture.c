#include "picture.h"

#include "base/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define DRAW_EVERY_MS 200
#define LINE_EVERY_MS 3000
#define NEWS_LINES    6
#define NEWS_SIZE     80
#define BAR_WIDTH     72
#define LINES         28 /* of the whole picture */

static struct {
    struct picture of;
    bool runs;
    bool drawn; /* the cursor stands below a picture */
    bool colour;
    uint64_t start_ms;
    uint64_t due_ms;
    char news[NEWS_LINES][NEWS_SIZE]; /* the latest one last */
    struct str text;
} picture;

/* How an order of each state is drawn, in the order of its way. */
static const struct look {
    char sign;
    const char *name;
    const char *paint;
} looks[STATES] = {
    [STATE_PENDING] = {'.', "pending", "\033[37m"},
    [STATE_PLACED] = {'-', "placed", "\033[36m"},
    [STATE_PAID] = {'=', "paid", "\033[33m"},
    [STATE_SHIPPED] = {'#', "shipped", "\033[32m"},
    [STATE_CANCELLED] = {'x', "cancelled", "\033[31m"},
};

/* From the left: what is finished, then what is nearest to it. */
static const enum state from_left[STATES] = {STATE_SHIPPED, STATE_CANCELLED, STATE_PAID,
                                             STATE_PLACED, STATE_PENDING};

static bool is_terminal(void)
{
    const char *term = getenv("TERM");
    struct winsize size;

    return isatty(STDOUT_FILENO) && term != NULL && strcmp(term, "dumb") != 0 &&
           ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 80 && size.ws_row > LINES;
}

static const char *paint(const char *code)
{
    return picture.colour ? code : "";
}

static void put_clock(struct str *out)
{
    const unsigned s = (unsigned)((test_now_ms() - picture.start_ms) / 1000);

    str_printf(out, "%u:%02u", s / 60, s % 60);
}

/* ---- news ---- */

void picture_news(const char *fmt, ...)
{
    struct str line = {0};
    va_list ap;

    put_clock(&line);
    str_puts(&line, "  ");
    va_start(ap, fmt);
    str_vprintf(&line, fmt, ap);
    va_end(ap);
    memmove(picture.news[0], picture.news[1], sizeof picture.news - sizeof picture.news[0]);
    (void)snprintf(picture.news[NEWS_LINES - 1], NEWS_SIZE, "%.74s", line.data);
    if (!is_terminal())
        (void)printf("    %s\n", line.data);
    str_release(&line);
}

/* ---- the picture, from top to bottom ---- */

static void draw_orders(struct str *out)
{
    const struct picture *of = &picture.of;
    const size_t count = of->customers->count;
    size_t signs = 0;

    str_puts(out, "  ");
    put_clock(out);
    str_printf(out, "  %zu of %zu orders taken; %zu requests were sent again, with their key\n\n",
               atomic_load(&of->customers->taken), count, atomic_load(&of->customers->repeats));
    str_puts(out, "  [");
    for (size_t i = 0; i < STATES; i++) {
        const struct look *look = &looks[from_left[i]];
        const size_t number = (size_t)of->books->state[from_left[i]];
        const size_t want = (number * BAR_WIDTH + count - 1) / count; /* one is seen, too */
        str_puts(out, paint(look->paint));
        for (size_t k = 0; k < want && signs < BAR_WIDTH; k++, signs++)
            str_put_char(out, look->sign);
        str_puts(out, paint("\033[0m"));
    }
    str_printf(out, "%*s]\n  ", (int)(BAR_WIDTH - signs), "");
    for (size_t i = 0; i < STATES; i++) {
        const struct look *look = &looks[from_left[i]];
        str_printf(out, " %s%c%s %s %-5ld", paint(look->paint), look->sign, paint("\033[0m"),
                   look->name, of->books->state[from_left[i]]);
    }
    str_puts(out, "\n\n");
}

/* What a part is doing now, 18 columns wide. */
static void draw_now(struct str *out, const struct part *p)
{
    const uint64_t now = test_now_ms();
    char text[40] = "runs";

    if (p->proc.pid == 0)
        (void)snprintf(text, sizeof text, "comes later");
    else if (p->ends && p->back_ms == 0)
        (void)snprintf(text, sizeof text, "stopped");
    else if (p->ends)
        (void)snprintf(text, sizeof text, "back in %.1f s",
                       p->back_ms > now ? (double)(p->back_ms - now) / 1000 : 0.0);
    str_printf(out, "%s%-14s%s", paint(p->ends ? "\033[31m" : "\033[32m"), text, paint("\033[0m"));
}

static void draw_number(struct str *out, long number)
{
    if (number < 0)
        str_printf(out, "%12s", "-");
    else
        str_printf(out, "%12ld", number);
}

static void draw_services(struct str *out)
{
    const struct picture *of = &picture.of;

    str_printf(out, "  %-14s%-14s%12s%12s%12s%12s\n", "service", "", "took effect", "waiting",
               "came again", "ended");
    for (int i = 0; i < SERVICES; i++) {
        const struct part *p = &of->shop->part[i];
        str_printf(out, "  %-14s", services[i].name);
        draw_now(out, p);
        draw_number(out, of->books->claimed[i]);
        draw_number(out, shop_part_started(of->shop, i) ? of->topics->waiting[i] : -1);
        draw_number(out, topics_repeats_for(of->topics, &services[i]));
        draw_number(out, p->kills + p->stops);
        str_put_char(out, '\n');
    }
}

static void draw_relays(struct str *out)
{
    const struct picture *of = &picture.of;

    str_printf(out, "\n  %-14s%-14s%12s%12s%12s%12s\n", "relay", "", "committed", "unsent",
               "sent again", "ended");
    for (int i = 0; i < RELAYS; i++) {
        const struct part *p = &of->shop->part[SERVICES + i];
        const long unsent = of->books->committed[i] - of->topics->events[i];
        str_printf(out, "  %-14s", services[i].name);
        draw_now(out, p);
        draw_number(out, of->books->committed[i]);
        draw_number(out, unsent > 0 ? unsent : 0);
        draw_number(out, of->topics->records[i] - of->topics->events[i]);
        draw_number(out, p->kills + p->stops);
        str_put_char(out, '\n');
    }
}

static void draw(struct str *out)
{
    draw_orders(out);
    draw_services(out);
    draw_relays(out);
    str_puts(out, "\n");
    for (int i = 0; i < NEWS_LINES; i++)
        str_printf(out, "  %s\n", picture.news[i]);
    str_printf(out, "\n  %sseed %llu; Ctrl-C ends it%s\n", paint("\033[2m"),
               (unsigned long long)picture.of.seed, paint("\033[0m"));
}

/* Writes the lines over those of the picture before; each is cleared to its end. */
static void show(const struct str *text)
{
    const char *line = text->data;
    int lines = 0;

    for (const char *at = text->data; *at != '\0'; at++)
        lines += *at == '\n';
    if (picture.drawn)
        (void)printf("\033[%dA", lines);
    else
        (void)fputs("\033[?25l", stdout);
    while (*line != '\0') {
        const size_t len = strcspn(line, "\n");
        (void)printf("\r%.*s\033[K\n", (int)len, line);
        line += len + 1;
    }
    (void)fflush(stdout);
    picture.drawn = true;
}

static void print_line(void)
{
    const struct books *b = picture.of.books;

    str_reset(&picture.text);
    put_clock(&picture.text);
    (void)printf("    %s  %zu of %zu orders taken: ", picture.text.data,
                 atomic_load(&picture.of.customers->taken), picture.of.customers->count);
    for (size_t i = 0; i < STATES; i++)
        (void)printf("%s%s %ld", i == 0 ? "" : ", ", looks[from_left[i]].name,
                     b->state[from_left[i]]);
    (void)putchar('\n');
}

/* ---- when ---- */

void picture_start(const struct picture *p)
{
    picture.of = *p;
    picture.start_ms = test_now_ms();
    picture.runs = true;
    picture.colour = getenv("NO_COLOR") == NULL;
    if (atexit(picture_end) != 0)
        support_fail("atexit failed");
}

static void draw_now_or_print(void)
{
    if (!is_terminal()) {
        print_line();
        return;
    }
    str_reset(&picture.text);
    draw(&picture.text);
    show(&picture.text);
}

void picture_turn(void)
{
    const uint64_t now = test_now_ms();

    if (!picture.runs || now < picture.due_ms)
        return;
    picture.due_ms = now + (is_terminal() ? DRAW_EVERY_MS : LINE_EVERY_MS);
    draw_now_or_print();
}

void picture_end(void)
{
    if (!picture.runs)
        return;
    draw_now_or_print();
    if (picture.drawn)
        (void)fputs("\033[?25h", stdout);
    (void)fflush(stdout);
    picture.runs = false;
    picture.drawn = false;
}
