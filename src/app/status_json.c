/* `outboxd status --json`: one object. What is not known is null; times are seconds. */
#include "app/parked.h"
#include "app/status_print.h"

#include "app/print_json.h"
#include "base/problem.h"

#include <jansson.h>

enum { LANES_LISTED = 20 };

/* Below zero: not known. */
static json_t *number_or_null(double value)
{
    return value < 0 ? json_null() : json_real(value);
}

/* The server's and librdkafka's texts need not be UTF-8. */
static json_t *text_json(const char *text)
{
    json_t *json = json_string(text);

    return json != NULL ? json : json_string("(no UTF-8)");
}

static json_t *problem_json(enum problem problem, const char *text)
{
    return json_pack("{s:s, s:s, s:s, s:o, s:s}", "word", problem_word(problem), "class",
                     problem_class_name(problem_class(problem)), "what", problem_what(problem),
                     "text", text_json(text), "todo", problem_advice(problem));
}

static json_t *problems_json(const struct status *s)
{
    json_t *list = json_array();

    for (size_t i = 0; i < s->problem_count; i++)
        (void)json_array_append_new(list,
                                    problem_json(s->problems[i].problem, s->problems[i].text));
    return list;
}

static json_t *trouble_json(const struct admin_status *st)
{
    const struct trouble *t = &st->trouble;

    if (t->cause[0] == '\0')
        return json_null();
    return json_pack("{s:s, s:o, s:s, s:s, s:I, s:i, s:i, s:b, s:f}", "cause", t->cause, "text",
                     text_json(t->text), "topic", t->topic, "event_id", t->event_id, "row_id",
                     (json_int_t)t->row_id, "attempts", (int)t->attempts, "next_try_ms",
                     (int)t->next_try_ms, "halted", (int)t->halted, "since_seconds", st->trouble_s);
}

static json_t *overdue_json(const struct overdue *o)
{
    json_t *list = json_array();

    for (size_t i = 0; i < o->listed; i++)
        (void)json_array_append_new(
            list, json_pack("{s:s, s:I, s:o}", "partition", o->days[i].partition, "bytes",
                            (json_int_t)o->days[i].bytes, "reason", text_json(o->days[i].reason)));
    return json_pack("{s:b, s:I, s:o}", "supported", (int)o->supported, "overdue",
                     (json_int_t)o->count, "days", list);
}

static json_t *transactions_json(const struct admin_status *st)
{
    json_t *list = json_array();

    for (size_t i = 0; i < st->transaction_count; i++) {
        const struct admin_transaction *t = &st->transactions[i];

        (void)json_array_append_new(list, json_pack("{s:o, s:f, s:b, s:o}", "name",
                                                    text_json(t->name), "age_seconds", t->age_s,
                                                    "locks_event", (int)t->locks_event, "way_out",
                                                    text_json(t->way_out)));
    }
    return json_pack("{s:b, s:o}", "sees_all", (int)st->sees_transactions, "open", list);
}

static json_t *paused_json(const struct admin_status *st)
{
    if (st->paused_s < 0)
        return json_null();
    return json_pack("{s:f, s:o, s:o}", "since_seconds", st->paused_s, "by",
                     text_json(str_text(&st->paused_by)), "reason",
                     text_json(str_text(&st->pause_reason)));
}

static json_t *lanes_json(const struct admin_lanes *lanes)
{
    json_t *list = json_array();

    for (size_t i = 0; i < lanes->count && i < LANES_LISTED; i++)
        (void)json_array_append_new(list, parked_lane_json(&lanes->lane[i], false));
    return list;
}

static json_t *relay_json(const struct status *s)
{
    const struct admin_status *st = &s->relay;

    return json_pack(
        "{s:s, s:s, s:s, s:o, s:o, s:{s:b, s:s, s:s, s:I, s:f, s:i}, s:o, s:{s:I, s:b, s:f}, "
        "s:{s:I, s:o}, s:{s:s, s:s, s:I, s:f}, s:o, s:o, s:{s:i, s:i}, s:o, s:o}",
        "relay", s->name, "verdict", s->verdict, "what_to_do",
        s->problem_count > 0 ? problem_advice(s->problems[0].problem) : "", "problem",
        s->problem_count > 0 ? problem_json(s->problems[0].problem, s->problems[0].text)
                             : json_null(),
        "problems", problems_json(s), "lease", "leading", (int)st->leading, "instance",
        str_text(&st->instance), "holder", st->holder, "epoch", (json_int_t)st->epoch,
        "renewed_seconds", st->renewed_s, "ttl_ms", st->ttl_ms, "paused", paused_json(st), "unsent",
        "events", (json_int_t)st->unsent_events, "estimated", (int)st->unsent_estimated,
        "oldest_seconds", st->oldest_unsent_s, "published", "events", (json_int_t)st->published,
        "per_second", number_or_null(st->rate), "position", "base", str_text(&st->position.base),
        "target", str_text(&st->position.target), "last_id", (json_int_t)st->position.last_id,
        "stored_seconds", st->stored_s, "trouble", trouble_json(st), "transactions",
        transactions_json(st), "schema", "version", st->schema_version, "bells", st->bells,
        "retention", overdue_json(&s->overdue), "lanes", lanes_json(&s->lanes));
}

int status_print_json(const struct status *s, struct err *err)
{
    if (print_json(relay_json(s)) != 0)
        return err_problem(err, ERR_SOFTWARE, PROBLEM_INTERNAL_ERROR,
                           "cannot print the status as JSON");
    return 0;
}

void status_print_unasked(const char *relay, const struct err *why)
{
    enum problem problem = why->problem == PROBLEM_NONE ? PROBLEM_INTERNAL_ERROR : why->problem;

    (void)print_json(json_pack("{s:s, s:s, s:s, s:o, s:[o]}", "relay", relay, "verdict",
                               why->kind == ERR_UNAVAILABLE ? "unknown" : "refused", "what_to_do",
                               problem_advice(problem), "problem", problem_json(problem, why->text),
                               "problems", problem_json(problem, why->text)));
}
