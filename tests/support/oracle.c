#include "oracle.h"

#include "oracle_set.h"

#include <string.h>

struct log_check {
    const struct oracle_set *set;
    struct oracle_report *report;
};

/* An entry of a writer's log against the table. */
static void check_entry(void *ctx, const struct load_entry *entry)
{
    const struct log_check *c = ctx;
    struct oracle_report *r = c->report;
    const bool there = oracle_set_find(c->set, entry->event_id) != NULL;

    if (entry->fate == LOAD_COMMITTED && !there) {
        r->vanished++;
        oracle_example(r, r->vanished,
                       "vanished: a writer's COMMIT succeeded, but there is no row");
    }
    if (entry->fate == LOAD_ROLLED_BACK && there) {
        r->undead++;
        oracle_example(r, r->undead, "undead: a writer rolled back, but the row is there");
    }
}

static void tell_lost(const struct oracle_set *s, struct oracle_report *r)
{
    r->lost = s->unseen;
    for (size_t i = 0, told = 0; i < s->count && told < 3; i++) {
        const struct oracle_event *e = &s->events[i];
        if (e->seen == 0)
            oracle_example(r, (int64_t)++told, "lost: row %lld for %s, number %lld",
                           (long long)e->row_id, s->topics[e->topic], (long long)e->seq);
    }
}

void oracle_judge(struct oracle_report *r, const struct oracle_params *p)
{
    struct oracle_set set = {0};
    struct log_check check = {.set = &set, .report = r};
    const uint64_t start = test_now_ms();

    memset(r, 0, sizeof *r);
    oracle_read_rows(&set, p);
    for (const char *const *t = p->topics; t != NULL && *t != NULL; t++)
        (void)oracle_set_topic(&set, *t, strlen(*t));
    r->committed = (int64_t)set.count;
    if (p->load != NULL)
        load_each(p->load, check_entry, &check);
    oracle_read_topics(&set, p, r);
    tell_lost(&set, r);
    r->elapsed_ms = (int64_t)(test_now_ms() - start);
    oracle_set_release(&set);
}

static void print_line(FILE *out, const char *name, int64_t count, const char *remark)
{
    (void)fprintf(out, "  %-22s %10lld  %s\n", name, (long long)count, remark);
}

void oracle_print(const struct oracle_report *r, FILE *out)
{
    (void)fprintf(out, "oracle: %lld committed, %lld records in %lld topics, judged in %lld ms\n",
                  (long long)r->committed, (long long)r->records, (long long)r->topics,
                  (long long)r->elapsed_ms);
    print_line(out, "I1 lost", r->lost, "committed, but in no topic");
    print_line(out, "I2 ghosts", r->ghosts, "in a topic, but not committed");
    print_line(out, "I3 out of order", r->inverted,
               "first occurrences of a key that do not ascend");
    print_line(out, "I4 duplicates", r->duplicates, "");
    print_line(out, "I5 wrong", r->wrong, "topic, partition, key, headers or value differ");
    if (r->missing_topics + r->vanished + r->undead > 0) {
        print_line(out, "missing topics", r->missing_topics, "");
        print_line(out, "vanished", r->vanished,
                   "COMMIT succeeded, but no row: Postgres or the load");
        print_line(out, "undead", r->undead, "rolled back, but a row: Postgres or the load");
    }
    for (int i = 0; i < r->example_count; i++)
        (void)fprintf(out, "    %s\n", r->example[i]);
}

bool oracle_is_content(const struct oracle_report *r, int64_t max_duplicates)
{
    return r->lost == 0 && r->ghosts == 0 && r->inverted == 0 && r->wrong == 0 &&
           r->vanished == 0 && r->undead == 0 && r->missing_topics == 0 &&
           r->duplicates <= max_duplicates;
}

struct oracle_report oracle_assert(const struct oracle_params *p, int64_t max_duplicates)
{
    struct oracle_report r;

    oracle_judge(&r, p);
    if (!oracle_is_content(&r, max_duplicates)) {
        oracle_print(&r, stderr);
        support_fail("the oracle is not content (at most %lld duplicates allowed)",
                     (long long)max_duplicates);
    }
    return r;
}
