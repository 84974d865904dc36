#include "app/parked.h"

#include "app/print_json.h"

#include <stdio.h>
#include <string.h>

/* Keys and topics of rows may hold anything: quoted as JSON has it. */
static void put_what(struct str *out, const struct admin_lane *l)
{
    switch (l->by) {
    case LANE_BY_KEY:
        str_puts(out, "key ");
        str_put_json(out, str_slice(&l->key));
        str_puts(out, " of ");
        break;
    case LANE_BY_PARTITION:
        str_printf(out, "partition %d of ", (int)l->partition);
        break;
    case LANE_BY_TOPIC:
    case LANE_BY_COUNT:
        break;
    }
    if (l->topic.len == 0)
        str_puts(out, "a topic that is no legal name");
    else
        str_printf(out, "topic %s", l->topic.data);
}

static void print_event(const struct trouble *t, const char *label)
{
    if (t->event_id[0] != '\0')
        (void)printf("          %s event %s (row %lld)\n", label, t->event_id,
                     (long long)t->row_id);
}

void parked_print_lane(const struct admin_lane *l)
{
    const struct trouble *t = &l->trouble;
    struct str what = {0};

    put_what(&what, l);
    (void)printf("lane %-4u %s, made %.0f s ago\n", (unsigned)l->id, what.data, l->made_s);
    str_release(&what);
    if (t->cause[0] == '\0')
        (void)printf("          %s\n", l->flowing ? "flows: catches up with the others" : "waits");
    else
        (void)printf("          waits for %.0f s: %s (%s), tried %u time%s, again in %.0f s\n",
                     l->trouble_s < 0 ? l->made_s : l->trouble_s, t->cause, t->text,
                     (unsigned)t->attempts, t->attempts == 1 ? "" : "s", t->next_try_ms / 1000.0);
    print_event(t, "next");
    if (l->waiting >= 0)
        (void)printf("          %s%lld event%s wait%s%s", l->waiting_capped ? "more than " : "",
                     (long long)l->waiting, l->waiting == 1 ? "" : "s", l->waiting == 1 ? "s" : "",
                     l->oldest_s < 0 ? "\n" : "");
    if (l->waiting >= 0 && l->oldest_s >= 0)
        (void)printf(", the oldest for %.0f s\n", l->oldest_s);
    if (l->asked)
        (void)printf("          %s wants it tried\n", str_text(&l->asked_by));
}

void parked_print_halted(const struct trouble *t)
{
    (void)printf("lane 0    all the rest: halted by %s (%s)\n", t->cause, t->text);
    print_event(t, "by");
}

void parked_print_list(const char *relay, const struct admin_lanes *lanes)
{
    (void)printf("relay %s: %zu lane%s\n", relay, lanes->count, lanes->count == 1 ? "" : "s");
    if (lanes->halted)
        parked_print_halted(&lanes->trouble);
    for (size_t i = 0; i < lanes->count; i++)
        parked_print_lane(&lanes->lane[i]);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static json_t *text_or_null(const char *text)
{
    return text[0] == '\0' ? json_null() : json_string(text);
}

static json_t *number_or_null(double n)
{
    return n < 0 ? json_null() : json_real(n);
}

json_t *parked_lane_json(const struct admin_lane *l, bool with_key)
{
    const struct trouble *t = &l->trouble;
    bool known = t->event_id[0] != '\0';

    return json_pack(
        "{s:I, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:f, s:f, s:o, s:o, s:b, s:b, s:b}",
        "id", (json_int_t)l->id, "by", lane_by_name(l->by), "topic",
        text_or_null(str_text(&l->topic)), "key",
        l->by == LANE_BY_KEY && with_key ? json_string(str_text(&l->key)) : json_null(),
        "partition", l->by == LANE_BY_PARTITION ? json_integer(l->partition) : json_null(), "cause",
        text_or_null(t->cause), "text", text_or_null(t->text), "event_id",
        text_or_null(t->event_id), "row_id", known ? json_integer(t->row_id) : json_null(),
        "attempts", (json_int_t)t->attempts, "next_try_s", t->next_try_ms / 1000.0, "made_s",
        l->made_s, "oldest_s", number_or_null(l->oldest_s), "waiting",
        l->waiting < 0 ? json_null() : json_integer(l->waiting), "waiting_capped",
        (int)l->waiting_capped, "flowing", (int)l->flowing, "asked", (int)l->asked);
}

int parked_print_json(const char *relay, const struct admin_lanes *lanes, struct err *err)
{
    json_t *list = json_array();

    for (size_t i = 0; i < lanes->count; i++)
        (void)json_array_append_new(list, parked_lane_json(&lanes->lane[i], true));
    if (print_json(json_pack("{s:s, s:b, s:o}", "relay", relay, "halted", (int)lanes->halted,
                             "lanes", list)) != 0)
        return err_set(err, ERR_SOFTWARE, "the answer cannot be written");
    return 0;
}
