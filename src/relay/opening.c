#include "relay/opening.h"

#include "message/murmur2.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void topics_init(struct topics *t)
{
    *t = (struct topics){0};
}

void topics_release(struct topics *t)
{
    for (uint32_t i = 0; i < t->count; i++) {
        free(t->list[i].name);
        free(t->list[i].partitions);
    }
    free(t->list);
    free(t->slots);
    *t = (struct topics){0};
}

static uint32_t *slot_of(struct topics *t, struct slice name)
{
    uint32_t i = murmur2(name.ptr, name.len) & (t->slot_count - 1);

    while (t->slots[i] != 0 && !slice_is(name, t->list[t->slots[i] - 1].name))
        i = (i + 1) & (t->slot_count - 1);
    return &t->slots[i];
}

/* Doubles the table before it is half full. */
static void grow(struct topics *t)
{
    if (t->count * 2 < t->slot_count)
        return;
    t->slot_count = t->slot_count == 0 ? 16 : t->slot_count * 2;
    t->list = xrealloc(t->list, t->slot_count / 2 * sizeof t->list[0]);
    free(t->slots);
    t->slots = xcalloc(t->slot_count, sizeof t->slots[0]);
    for (uint32_t i = 0; i < t->count; i++)
        *slot_of(t, slice_of(t->list[i].name)) = i + 1;
}

uint32_t topics_find(struct topics *t, struct slice name, bool *added)
{
    uint32_t *slot;

    *added = false;
    if (t->slot_count > 0) {
        slot = slot_of(t, name);
        if (*slot != 0)
            return *slot - 1;
    }
    grow(t);
    t->list[t->count] = (struct topic){.name = xstrndup(name.ptr, name.len)};
    *slot_of(t, name) = t->count + 1;
    *added = true;
    return t->count++;
}

void topics_set_count(struct topics *t, uint32_t topic, int32_t count)
{
    struct topic *tp = &t->list[topic];

    assert(count >= 0);
    free(tp->partitions);
    tp->partitions = count == 0 ? NULL : xcalloc((size_t)count, sizeof tp->partitions[0]);
    tp->count = count;
    tp->opening = false;
}

void topics_close_all(struct topics *t)
{
    for (uint32_t i = 0; i < t->count; i++)
        topics_set_count(t, i, 0);
}

enum permit topics_permit(struct topics *t, uint32_t topic, int32_t known, struct slice key,
                          uint64_t now_ms, int32_t *partition)
{
    struct topic *tp = &t->list[topic];
    struct partition *p;

    *partition = -1;
    if (tp->opening)
        return PERMIT_WAIT;
    if (known != tp->count && known > 0)
        return PERMIT_GREW;
    if (tp->count == 0)
        return PERMIT_SEND;
    *partition = murmur2_partition(key.ptr, key.len, tp->count);
    p = &tp->partitions[*partition];
    if (p->state == PARTITION_OPENING)
        return PERMIT_WAIT;
    if (p->state == PARTITION_OPEN && now_ms - p->last_ack_ms > OPENING_FORGET_MS)
        p->state = PARTITION_CLOSED;
    return PERMIT_SEND;
}

void topics_sent(struct topics *t, uint32_t topic, int32_t partition, uint64_t seq)
{
    struct topic *tp = &t->list[topic];

    if (partition < 0) {
        assert(!tp->opening && tp->count == 0);
        tp->opening = true;
        tp->opener = seq;
    } else if (tp->partitions[partition].state == PARTITION_CLOSED) {
        tp->partitions[partition].state = PARTITION_OPENING;
    } else {
        assert(tp->partitions[partition].state == PARTITION_OPEN);
    }
}

void topics_acked(struct topics *t, uint32_t topic, int32_t partition, uint64_t seq,
                  uint64_t now_ms)
{
    struct topic *tp = &t->list[topic];
    struct partition *p;

    if (tp->opening && tp->opener == seq)
        tp->opening = false;
    if (partition < 0 || partition >= tp->count)
        return;
    p = &tp->partitions[partition];
    p->state = PARTITION_OPEN; /* whichever message it was: the broker knows this producer now */
    p->last_ack_ms = now_ms;
}
