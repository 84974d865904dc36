#include "app/verify_report.h"

#include "app/print_json.h"
#include "message/event.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#define TYPES_MAX 4096 /* more event types than that are listed without their names */

void verify_report_init(struct verify_report *r, const char *relay, size_t limit)
{
    *r = (struct verify_report){.relay = relay, .limit = limit};
    names_init(&r->topics, NAMES_MAX);
    names_init(&r->types, TYPES_MAX);
    coverage_init(&r->coverage);
}

void verify_report_release(struct verify_report *r)
{
    names_release(&r->topics);
    names_release(&r->types);
    coverage_release(&r->coverage);
    for (int k = 0; k < JUDGED_COUNT; k++)
        free(r->listed[k]);
}

void verify_report_add(void *ctx, const struct judged_event *e)
{
    struct verify_report *r = ctx;
    size_t n = r->listed_count[e->kind];

    if (n == r->limit)
        return;
    if (n % 64 == 0)
        r->listed[e->kind] = xrealloc(r->listed[e->kind], (n + 64) * sizeof *e);
    r->listed[e->kind][n] = *e;
    r->listed_count[e->kind]++;
}

int64_t verify_report_wrong(const struct verify_report *r)
{
    const int64_t *found = r->totals.found;

    return found[JUDGED_LOST] + found[JUDGED_GHOST] + found[JUDGED_INVERTED];
}

static const char *name_of(const struct names *n, uint16_t number)
{
    return number < n->count ? n->text[number] : "";
}

static const char *id_text(const struct judged_event *e, char out[EVENT_ID_TEXT])
{
    event_id_text(e->event_id, out);
    return out;
}

/* ---- sums over the topics -------------------------------------------------------------------- */

struct reading {
    int topics;
    int absent;
    int partitions;
    int64_t missing; /* offsets without a record */
};

static struct reading reading_of(const struct verify_report *r)
{
    struct reading sum = {0};

    for (size_t i = 0; i < r->coverage.topic_count; i++) {
        const struct coverage_topic *t = &r->coverage.topics[i];

        if (!t->is_read)
            continue;
        sum.topics++;
        sum.absent += t->partition_count == 0;
        sum.partitions += t->partition_count;
        sum.missing += t->missing;
    }
    return sum;
}

/* ---- text ------------------------------------------------------------------------------------ */

static void print_line(const char *name, int64_t count, const char *meaning)
{
    (void)printf("  %-12s %" PRId64 "%s%s\n", name, count, meaning[0] == '\0' ? "" : "  ", meaning);
}

static void print_if(int64_t count, const char *meaning)
{
    if (count > 0)
        (void)printf("  %-12s %" PRId64 " %s\n", "", count, meaning);
}

static void print_unjudged(const struct verify_report *r, const struct reading *sum)
{
    const struct judge_totals *t = &r->totals;

    if (t->perhaps_removed + t->order_unknown + t->row_retired + t->no_topic + t->shared_id +
            sum->missing ==
        0)
        return;
    (void)printf("  not judged\n");
    print_if(sum->missing, "records gone by Kafka's retention or compaction (offsets without one)");
    print_if(t->perhaps_removed, "published rows without a record that may be among them");
    print_if(t->order_unknown, "records whose place in the order they may have changed");
    print_if(t->row_retired, "records of days whose rows retention has taken away");
    print_if(t->no_topic, "rows that today's routes or kafka.topics do not let through");
    print_if(t->shared_id, "rows that share their event id with another: their order");
}

static void print_finding(const struct verify_report *r, const struct judged_event *e)
{
    char id[EVENT_ID_TEXT];

    (void)printf("%-10s", judged_word(e->kind));
    if (e->row_id != 0)
        (void)printf(" id %" PRId64, e->row_id);
    (void)printf(" event %s type %s topic %s", id_text(e, id), name_of(&r->types, e->type),
                 name_of(&r->topics, e->topic));
    if (e->partition >= 0)
        (void)printf(" [%d] offset %" PRId64, (int)e->partition, e->offset);
    if (e->kind == JUDGED_INVERTED)
        (void)printf(", behind id %" PRId64 " of the same key", e->behind_id);
    (void)putchar('\n');
}

static void print_findings(const struct verify_report *r)
{
    for (int k = 0; k < JUDGED_COUNT; k++) {
        int64_t more = r->totals.found[k] - (int64_t)r->listed_count[k];

        if (r->listed_count[k] > 0)
            (void)putchar('\n');
        for (size_t i = 0; i < r->listed_count[k]; i++)
            print_finding(r, &r->listed[k][i]);
        if (more > 0 && r->limit > 0)
            (void)printf("and %" PRId64 " more (--limit)\n", more);
    }
}

static void print_absent(const struct verify_report *r)
{
    for (size_t i = 0; i < r->coverage.topic_count; i++)
        if (r->coverage.topics[i].is_read && r->coverage.topics[i].partition_count == 0)
            (void)printf("  absent       topic %s does not exist\n", r->topics.text[i]);
}

void verify_report_print(const struct verify_report *r)
{
    const struct judge_totals *t = &r->totals;
    struct reading sum = reading_of(r);

    (void)printf("relay %s: %s\n", r->relay,
                 verify_report_wrong(r) == 0 ? "clean" : "something is wrong");
    (void)printf("  rows         %" PRId64 ", of them %" PRId64 " published by the stored position",
                 t->rows, t->settled);
    if (t->given_up > 0)
        (void)printf(", %" PRId64 " given up on purpose", t->given_up);
    if (t->other > 0)
        (void)printf(", %" PRId64 " of other topics", t->other);
    (void)printf("\n  records      %" PRId64 " in %d topics, %d partitions",
                 t->records - t->outside, sum.topics - sum.absent, sum.partitions);
    if (t->replayed > 0)
        (void)printf(", of them %" PRId64 " replayed", t->replayed);
    if (t->elsewhere > 0)
        (void)printf(", %" PRId64 " of rows that belong to another topic", t->elsewhere);
    if (r->foreign + t->strangers > 0)
        (void)printf("; %" PRId64 " of others", r->foreign + t->strangers);
    (void)putchar('\n');
    print_absent(r);
    print_line("lost", t->found[JUDGED_LOST], "");
    print_if(t->by_replay_only, "more are there, but only as a replay");
    print_line("ghost", t->found[JUDGED_GHOST], "");
    print_line("inverted", t->found[JUDGED_INVERTED], "");
    print_line("duplicate", t->found[JUDGED_DUPLICATE],
               t->found[JUDGED_DUPLICATE] == 0 ? ""
                                               : "legal after a fault: consumers know them by "
                                                 "event-id");
    print_unjudged(r, &sum);
    print_findings(r);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static json_t *finding_json(const struct verify_report *r, const struct judged_event *e)
{
    char id[EVENT_ID_TEXT];
    json_t *o =
        json_pack("{s:s, s:s, s:s, s:s}", "kind", judged_word(e->kind), "event_id", id_text(e, id),
                  "type", name_of(&r->types, e->type), "topic", name_of(&r->topics, e->topic));

    if (e->row_id != 0)
        (void)json_object_set_new(o, "row_id", json_integer(e->row_id));
    if (e->partition >= 0) {
        (void)json_object_set_new(o, "partition", json_integer(e->partition));
        (void)json_object_set_new(o, "offset", json_integer(e->offset));
    }
    if (e->kind == JUDGED_INVERTED)
        (void)json_object_set_new(o, "behind_id", json_integer(e->behind_id));
    return o;
}

static json_t *findings_json(const struct verify_report *r)
{
    json_t *list = json_array();

    for (int k = 0; k < JUDGED_COUNT; k++)
        for (size_t i = 0; i < r->listed_count[k]; i++)
            (void)json_array_append_new(list, finding_json(r, &r->listed[k][i]));
    return list;
}

static json_t *topics_json(const struct verify_report *r)
{
    json_t *list = json_array();

    for (size_t i = 0; i < r->coverage.topic_count; i++) {
        const struct coverage_topic *t = &r->coverage.topics[i];

        if (t->is_read)
            (void)json_array_append_new(
                list, json_pack("{s:s, s:i, s:I}", "topic", r->topics.text[i], "partitions",
                                (int)t->partition_count, "removed", (json_int_t)t->missing));
    }
    return list;
}

int verify_report_print_json(const struct verify_report *r, struct err *err)
{
    const struct judge_totals *t = &r->totals;
    json_t *doc = json_pack(
        "{s:s, s:b, s:{s:I, s:I, s:I, s:I}, s:{s:I, s:I, s:I, s:I, s:I}, s:I, s:I, s:I, s:I, s:I, "
        "s:{s:I, s:I, s:I, s:I, s:I}, s:o, s:o, s:f}",
        "relay", r->relay, "clean", verify_report_wrong(r) == 0, "rows", "all", (json_int_t)t->rows,
        "published", (json_int_t)t->settled, "given_up", (json_int_t)t->given_up, "other_topics",
        (json_int_t)t->other, "records", "all", (json_int_t)(t->records - t->outside), "replayed",
        (json_int_t)t->replayed, "elsewhere", (json_int_t)t->elsewhere, "foreign",
        (json_int_t)r->foreign, "strangers", (json_int_t)t->strangers, "lost",
        (json_int_t)t->found[JUDGED_LOST], "lost_but_replayed", (json_int_t)t->by_replay_only,
        "ghost", (json_int_t)t->found[JUDGED_GHOST], "inverted",
        (json_int_t)t->found[JUDGED_INVERTED], "duplicate", (json_int_t)t->found[JUDGED_DUPLICATE],
        "not_judged", "rows_perhaps_removed", (json_int_t)t->perhaps_removed, "order_unknown",
        (json_int_t)t->order_unknown, "rows_retired", (json_int_t)t->row_retired,
        "rows_without_topic", (json_int_t)t->no_topic, "rows_of_shared_ids",
        (json_int_t)t->shared_id, "topics", topics_json(r), "findings", findings_json(r), "seconds",
        r->seconds);

    if (print_json(doc) != 0)
        return err_set(err, ERR_SOFTWARE, "cannot print the result as JSON");
    return 0;
}
