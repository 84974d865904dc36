#include "verify/coverage.h"

#include "base/str.h"
#include "message/murmur2.h"

#include <stdlib.h>

void coverage_init(struct coverage *c)
{
    *c = (struct coverage){0};
}

void coverage_release(struct coverage *c)
{
    for (size_t i = 0; i < c->topic_count; i++)
        free(c->topics[i].partitions);
    free(c->topics);
    coverage_init(c);
}

void coverage_topic(struct coverage *c, uint16_t topic, int32_t partitions)
{
    if (topic >= c->topic_count) {
        size_t count = (size_t)topic + 1;

        c->topics = xrealloc(c->topics, count * sizeof c->topics[0]);
        for (size_t i = c->topic_count; i < count; i++)
            c->topics[i] = (struct coverage_topic){0};
        c->topic_count = count;
    }
    free(c->topics[topic].partitions);
    c->topics[topic] = (struct coverage_topic){
        .partitions = xcalloc((size_t)partitions, sizeof c->topics[0].partitions[0]),
        .partition_count = partitions,
        .is_read = true,
        .first_us = INT64_MAX,
        .moved_us = INT64_MIN,
    };
}

void coverage_partition(struct coverage *c, uint16_t topic, int32_t partition, int64_t low,
                        int64_t start, int64_t end)
{
    struct coverage_topic *t = &c->topics[topic];
    bool removed = start <= low && low > 0;

    t->partitions[partition] = (struct coverage_partition){
        .next = start, .end = end, .limit_us = INT64_MIN, .gap_open = removed};
    if (removed)
        t->missing += low;
}

static int64_t with_margin(int64_t us)
{
    return us > INT64_MAX - COVERAGE_MARGIN_US ? INT64_MAX : us + COVERAGE_MARGIN_US;
}

void coverage_record(struct coverage *c, uint16_t topic, int32_t partition, int64_t offset,
                     int64_t timestamp_us, const uint32_t *murmur)
{
    struct coverage_topic *t = &c->topics[topic];
    struct coverage_partition *p = &t->partitions[partition];

    if (offset > p->next) {
        t->missing += offset - p->next;
        p->gap_open = true;
    }
    if (p->gap_open) {
        int64_t limit = timestamp_us == COVERAGE_NO_TIME ? INT64_MAX : with_margin(timestamp_us);

        p->limit_us = limit > p->limit_us ? limit : p->limit_us;
        p->gap_open = false;
    }
    p->next = offset + 1;
    if (timestamp_us == COVERAGE_NO_TIME)
        return;
    if (timestamp_us < t->first_us)
        t->first_us = timestamp_us;
    if (murmur != NULL && timestamp_us > t->moved_us &&
        murmur2_place(*murmur, t->partition_count) != partition)
        t->moved_us = timestamp_us;
}

/* What was removed from the end, or everything: no record tells when that was. */
static void finish_partition(struct coverage_topic *t, struct coverage_partition *p)
{
    if (p->next < p->end) {
        t->missing += p->end - p->next;
        p->gap_open = true;
    }
    if (p->gap_open)
        p->limit_us = INT64_MAX;
    if (p->limit_us > t->worst_us)
        t->worst_us = p->limit_us;
}

/* The partition count may have grown. Records that lie elsewhere than they would today show until
 * when; with none of them left, what is left was written behind it. */
void coverage_finish(struct coverage *c)
{
    for (size_t i = 0; i < c->topic_count; i++) {
        struct coverage_topic *t = &c->topics[i];

        t->worst_us = INT64_MIN;
        for (int32_t p = 0; p < t->partition_count; p++)
            finish_partition(t, &t->partitions[p]);
        t->grown_us = with_margin(t->moved_us != INT64_MIN ? t->moved_us : t->first_us);
    }
}

bool coverage_is_read(const struct coverage *c, uint16_t topic)
{
    return topic < c->topic_count && c->topics[topic].is_read;
}

bool coverage_is_complete_for(const struct coverage *c, const struct row_entry *row)
{
    const struct coverage_topic *t = &c->topics[row->topic];
    int32_t place;

    if (t->partition_count == 0)
        return true;
    if (row->created_us <= t->grown_us)
        return row->created_us > t->worst_us;
    place = murmur2_place(row->key.murmur, t->partition_count);
    return row->created_us > t->partitions[place].limit_us;
}

bool coverage_is_first(const struct coverage *c, uint16_t topic, int32_t partition,
                       int64_t created_us)
{
    return created_us > c->topics[topic].partitions[partition].limit_us;
}
