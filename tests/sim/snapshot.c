#include "snapshot.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool snapshot_sees(const struct snapshot *s, uint64_t xid)
{
    if (xid < s->xmin)
        return true;
    if (xid >= s->xmax)
        return false;
    for (size_t i = 0; i < s->count; i++) {
        if (s->xip[i] == xid)
            return false;
    }
    return true;
}

void snapshot_print(const struct snapshot *s, char out[SNAPSHOT_TEXT])
{
    int n = snprintf(out, SNAPSHOT_TEXT, "%" PRIu64 ":%" PRIu64 ":", s->xmin, s->xmax);
    for (size_t i = 0; i < s->count; i++)
        n +=
            snprintf(out + n, SNAPSHOT_TEXT - (size_t)n, "%s%" PRIu64, i > 0 ? "," : "", s->xip[i]);
}

bool snapshot_parse(struct snapshot *s, const char *text)
{
    memset(s, 0, sizeof *s);
    char *end;
    s->xmin = strtoull(text, &end, 10);
    if (end == text || *end != ':')
        return false;
    const char *at = end + 1;
    s->xmax = strtoull(at, &end, 10);
    if (end == at || *end != ':')
        return false;
    at = end + 1;
    while (*at != '\0') {
        if (s->count == SNAPSHOT_XIP)
            return false;
        s->xip[s->count++] = strtoull(at, &end, 10);
        if (end == at || (*end != ',' && *end != '\0'))
            return false;
        at = *end == ',' ? end + 1 : end;
    }
    return s->xmin <= s->xmax;
}
