#include "relay/lane.h"

#include "message/murmur2.h"

#include <string.h>

static const char *const words[LANE_BY_COUNT] = {
#define X(name, word) [LANE_BY_##name] = (word),
    LANE_BYS(X)
#undef X
};

const char *lane_by_name(enum lane_by by)
{
    return words[by];
}

bool lane_by_parse(const char *text, enum lane_by *out)
{
    for (int i = 0; i < LANE_BY_COUNT; i++) {
        if (strcmp(words[i], text) != 0)
            continue;
        *out = (enum lane_by)i;
        return true;
    }
    return false;
}

bool lane_name_eq(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

bool lane_filter_covers(const struct lane_filter *f, struct slice topic, struct slice key)
{
    if (!lane_name_eq(f->topic, topic))
        return false;
    switch (f->by) {
    case LANE_BY_KEY:
        return lane_name_eq(f->key, key);
    case LANE_BY_PARTITION:
        return murmur2_partition(key.ptr, key.len, f->partitions) == f->partition;
    case LANE_BY_TOPIC:
    case LANE_BY_COUNT:
        break;
    }
    return true;
}
