/* How it can fail: the session breaks (source.c reports it), and whether the change was made is not
 * known until the next takeover has read all lanes. A lane that is made twice is a defect: its id
 * is taken, the server says so, the session breaks with that, and the next life chooses another. */
#include "outbox/changes.h"

#include "outbox/session.h"
#include "outbox/sql_fill.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct changes {
    struct changes_params params;
    enum lease_answer answer;
    struct str sql;   /* reused */
    struct str texts; /* reused: the literals, one behind the other, each with its NUL */
};

static const char *const queries[] = {
    [CHANGE_SPLIT] = "change_split",
    [CHANGE_FAIL] = "change_fail",
    [CHANGE_SKIP] = "change_skip",
    [CHANGE_MERGE] = "change_merge",
};

static void take_result(void *ctx, PGresult *result)
{
    struct changes *c = ctx;

    if (PQntuples(result) == 1)
        c->answer = PQgetvalue(result, 0, 0)[0] == 't' ? LEASE_PAUSED : LEASE_OURS;
    PQclear(result);
}

static void through(void *ctx)
{
    struct changes *c = ctx;

    c->params.events->changed(c->params.ctx, c->answer);
}

/* ---- literals: positions in c->texts, which moves while it grows ---- */

#define VALUES_MAX 22

struct literals {
    struct str *texts;
    const char *names[VALUES_MAX];
    size_t offsets[VALUES_MAX];
    size_t count;
};

static void begin_literal(struct literals *l, const char *name)
{
    if (l->count == VALUES_MAX)
        abort();
    l->names[l->count] = name;
    l->offsets[l->count++] = l->texts->len;
}

static void put_text(struct literals *l, const char *name, const char *text)
{
    begin_literal(l, name);
    if (text == NULL)
        str_puts(l->texts, "NULL");
    else
        sql_put_quoted(l->texts, text);
    str_put_char(l->texts, '\0');
}

static void put_text_or_null(struct literals *l, const char *name, const char *text)
{
    put_text(l, name, text[0] != '\0' ? text : NULL);
}

static void put_slice(struct literals *l, const char *name, struct slice text)
{
    struct str copy = {0};

    str_put_slice(&copy, text);
    put_text(l, name, str_text(&copy));
    str_release(&copy);
}

static void put_number(struct literals *l, const char *name, int64_t n)
{
    begin_literal(l, name);
    str_printf(l->texts, "'%" PRId64 "'::bigint", n);
    str_put_char(l->texts, '\0');
}

/* For columns of type integer. */
static void put_int(struct literals *l, const char *name, int64_t n)
{
    begin_literal(l, name);
    str_printf(l->texts, "%" PRId64, n);
    str_put_char(l->texts, '\0');
}

static void put_null(struct literals *l, const char *name)
{
    put_text(l, name, NULL);
}

static void put_filter(struct literals *l, const struct lane_filter *f)
{
    static const struct lane_filter none = {.by = LANE_BY_TOPIC};

    if (f == NULL)
        f = &none;
    put_text(l, "filter", lane_by_name(f->by));
    put_slice(l, "topic", f->topic);
    if (f->by == LANE_BY_KEY)
        put_slice(l, "key", f->key);
    else
        put_null(l, "key");
    if (f->by == LANE_BY_PARTITION) {
        put_int(l, "partition", f->partition);
        put_int(l, "partitions", f->partitions);
    } else {
        put_null(l, "partition");
        put_null(l, "partitions");
    }
}

static void put_trouble(struct literals *l, const struct trouble *t)
{
    static const struct trouble none = {.attempts = 0};

    if (t == NULL)
        t = &none;
    put_text_or_null(l, "cause", t->cause);
    put_text_or_null(l, "text", t->text);
    put_text_or_null(l, "event_id", t->event_id);
    if (t->row_id != 0)
        put_number(l, "row_id", t->row_id);
    else
        put_null(l, "row_id");
    put_int(l, "attempts", t->attempts);
    if (t->next_try_ms != 0)
        put_number(l, "next_try", t->next_try_ms);
    else
        put_null(l, "next_try");
}

static void put_position(struct literals *l, const struct position *at)
{
    put_text(l, "base", str_text(&at->base));
    put_text_or_null(l, "target", str_text(&at->target));
    put_number(l, "last_id", at->last_id);
}

void changes_make(struct changes *c, int64_t epoch, const struct lane_change *change)
{
    struct literals l = {.texts = &c->texts};
    struct sql_value values[VALUES_MAX + 2] = {{"relay", c->params.relay},
                                               {"holder", c->params.holder}};

    str_reset(&c->texts);
    put_number(&l, "epoch", epoch);
    put_number(&l, "mark", c->params.mark);
    put_int(&l, "lane", change->lane);
    put_int(&l, "from", change->from);
    put_number(&l, "events", (int64_t)change->events);
    put_text(&l, "dead_letter_topic", change->dead_letter_topic);
    put_position(&l, change->position);
    put_filter(&l, change->filter);
    put_trouble(&l, change->trouble);
    for (size_t i = 0; i < l.count; i++)
        values[i + 2] = (struct sql_value){l.names[i], c->texts.data + l.offsets[i]};
    str_reset(&c->sql);
    sql_fill(&c->sql, queries[change->kind], values, l.count + 2);
    c->answer = LEASE_LOST;
    session_query(c->params.control, &(struct session_query){.name = queries[change->kind],
                                                             .text = c->sql.data,
                                                             .timeout_ms = c->params.timeout_ms,
                                                             .result = take_result,
                                                             .done = through,
                                                             .ctx = c});
}

struct changes *changes_new(const struct changes_params *params)
{
    struct changes *c = xcalloc(1, sizeof *c);

    c->params = *params;
    return c;
}

void changes_free(struct changes *c)
{
    if (c == NULL)
        return;
    str_release(&c->sql);
    str_release(&c->texts);
    free(c);
}
