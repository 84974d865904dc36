#include "app/replay_plan.h"

#include "app/when.h"
#include "message/message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT_PAGE_ROWS 50000U

/* ---- options --------------------------------------------------------------------------------- */

/* Takes a number of up to 18 digits from *text; false when there is none. */
static bool take_id(const char **text, int64_t *id)
{
    size_t digits = strspn(*text, "0123456789");

    if (digits == 0 || digits > 18)
        return false;
    *id = strtoll(*text, NULL, 10);
    *text += digits;
    return true;
}

/* "5", "5-9", "5-" */
static int parse_ids(const char *text, struct kept_filter *filter, struct err *err)
{
    const char *at = text;
    bool good = take_id(&at, &filter->id_from);

    filter->id_to = filter->id_from;
    if (good && *at == '-') {
        at++;
        filter->id_to = INT64_MAX;
        good = *at == '\0' || take_id(&at, &filter->id_to);
    }
    if (!good || *at != '\0' || filter->id_from > filter->id_to)
        return err_set(err, ERR_USAGE, "--id takes 5, 5-9 or 5-, not \"%.60s\"", text);
    return 0;
}

int replay_plan_init(struct replay_plan *p, const struct cli *c, int64_t now_us, struct err *err)
{
    const struct when_span span = {.from_option = "from", .from = c->from, .until = c->until};
    struct kept_filter *f = &p->filter;

    *p = (struct replay_plan){.cli = c, .filter = KEPT_EVERYTHING};
    f->aggregate_type = c->aggregate_type;
    f->event_type = c->event_type;
    f->key = c->key;
    if (c->id != NULL && parse_ids(c->id, f, err) != 0)
        return -1;
    if (c->after >= f->id_from)
        f->id_from = c->after + 1;
    if (when_parse_span(&span, now_us, &f->since_us, &f->until_us, err) != 0)
        return -1;
    if (c->topic != NULL && !topic_name_is_legal(slice_of(c->topic)))
        return err_set(err, ERR_USAGE, "\"%.100s\" is no name of a topic", c->topic);
    return 0;
}

void replay_plan_release(struct replay_plan *p)
{
    for (size_t i = 0; i < p->topic_count; i++)
        free(p->topics[i].name);
    free(p->topics);
}

/* ---- counting -------------------------------------------------------------------------------- */

struct counting {
    struct replay_plan *plan;
    struct message message;
};

static struct replay_topic *topic_of(struct replay_plan *p, struct slice name)
{
    for (size_t i = 0; i < p->topic_count; i++)
        if (slice_is(name, p->topics[i].name))
            return &p->topics[i];
    p->topics = xrealloc(p->topics, (p->topic_count + 1) * sizeof p->topics[0]);
    p->topics[p->topic_count] = (struct replay_topic){.name = xstrndup(name.ptr, name.len)};
    return &p->topics[p->topic_count++];
}

static int count_row(void *ctx, const struct event *e, enum kept_state state, struct err *err)
{
    struct counting *c = ctx;
    struct replay_plan *p = c->plan;
    struct event again = replay_plan_event(p, e);

    if (state == KEPT_UNSETTLED) {
        p->unpublished++;
        return 0;
    }
    if (message_build(&c->message, &p->settings->routes, &again, err) != 0)
        return err_wrap(err, "the event with id %lld", (long long)e->id);
    topic_of(p, c->message.topic)->events++;
    if (p->events++ == 0)
        p->first_id = e->id;
    p->last_id = e->id;
    return 0;
}

int replay_plan_count(struct replay_plan *p, struct kept *kept, struct err *err)
{
    struct counting c = {.plan = p};
    const struct kept_reader reader = {.ctx = &c, .row = count_row, .page_rows = COUNT_PAGE_ROWS};
    int rc;

    message_init(&c.message);
    rc = kept_read(kept, &p->filter, &reader, err);
    message_release(&c.message);
    return rc;
}

struct event replay_plan_event(const struct replay_plan *p, const struct event *e)
{
    struct event again = *e;

    if (p->cli->topic != NULL)
        again.topic = slice_of(p->cli->topic);
    return again;
}

/* ---- words ----------------------------------------------------------------------------------- */

void replay_plan_print(const struct replay_plan *p)
{
    (void)printf("replay of relay %s: %lld events", p->settings->relay.name, (long long)p->events);
    if (p->events > 0)
        (void)printf(", id %lld to %lld", (long long)p->first_id, (long long)p->last_id);
    (void)putchar('\n');
    for (size_t i = 0; i < p->topic_count; i++)
        (void)printf("  to topic %s: %lld\n", p->topics[i].name, (long long)p->topics[i].events);
    if (p->unpublished > 0)
        (void)printf("  %lld more match, but are not published yet: they are left to the relay\n",
                     (long long)p->unpublished);
    if (p->events > 0 && p->cli->rate > 0)
        (void)printf("  at %d a second: %lld s\n", p->cli->rate,
                     (long long)((p->events + p->cli->rate - 1) / p->cli->rate));
}

/* As a shell takes it back. */
static void put_word(struct str *out, const char *option, const char *value)
{
    bool plain = value[0] != '\0' &&
                 strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                               "_-./:+=@%,") == strlen(value);

    str_printf(out, " %s %s", option, plain ? value : "'");
    if (plain)
        return;
    for (; *value != '\0'; value++) {
        if (*value == '\'')
            str_puts(out, "'\\''");
        else
            str_put_char(out, *value);
    }
    str_put_char(out, '\'');
}

static void put_time(struct str *out, const char *option, int64_t us)
{
    char text[MESSAGE_TIME_SIZE];

    (void)message_format_time(us, text);
    str_printf(out, " %s %s", option, text);
}

/* Times are written out, because "2h ago" is another time by then; the last id, because the relay
 * publishes on. */
void replay_plan_put_command(const struct replay_plan *p, int64_t settled_id, struct str *out)
{
    const struct kept_filter *f = &p->filter;
    const struct cli *c = p->cli;

    str_puts(out, "outboxd replay");
    put_word(out, "-c", c->config);
    str_printf(out, " --id %lld-%lld --after %lld", (long long)p->first_id, (long long)p->last_id,
               (long long)(settled_id > 0 ? settled_id : p->first_id - 1));
    if (f->since_us != INT64_MIN)
        put_time(out, "--from", f->since_us);
    if (f->until_us != INT64_MAX)
        put_time(out, "--until", f->until_us);
    if (c->event_type != NULL)
        put_word(out, "--type", c->event_type);
    if (c->aggregate_type != NULL)
        put_word(out, "--aggregate-type", c->aggregate_type);
    if (c->key != NULL)
        put_word(out, "--key", c->key);
    if (c->topic != NULL)
        put_word(out, "--topic", c->topic);
    str_printf(out, " --rate %d", c->rate);
    if (c->yes)
        str_puts(out, " --yes");
}
