#include "inbox/internal.h"

#include "base/clock.h"

#include <string.h>

void inbox_counters(const struct inbox *inbox, struct inbox_counters *out, size_t size)
{
    struct inbox_counters all = inbox->counters;
    const uint64_t now_ms = clock_now_ms();

    all.reconnects = inbox->db.connects > 0 ? inbox->db.connects - 1 : 0;
    all.partitions = inbox->parts.count;
    all.partitions_waiting = 0;
    all.events_held = 0;
    for (size_t i = 0; i < inbox->parts.count; i++) {
        all.partitions_waiting += part_waits(inbox->parts.part[i], now_ms) ? 1 : 0;
        all.events_held += inbox->parts.part[i]->held;
    }
    memset(out, 0, size);
    memcpy(out, &all, size < sizeof all ? size : sizeof all);
}

static void put_metric(struct str *out, const char *name, const char *type, const char *help,
                       const struct inbox *inbox, uint64_t value)
{
    str_printf(out, "# HELP %s %s\n# TYPE %s %s\n%s{consumer=", name, help, name, type, name);
    /* JSON escapes what Prometheus escapes, and more only in names that hold control characters */
    str_put_json(out, slice_of(inbox->params.consumer));
    str_printf(out, "} %llu\n", (unsigned long long)value);
}

size_t inbox_metrics_text(const struct inbox *inbox, char *buffer, size_t size)
{
    struct inbox_counters c;
    struct str out = {0};
    size_t len;

    inbox_counters(inbox, &c, sizeof c);
#define X(member, metric, help) put_metric(&out, metric, "counter", help, inbox, c.member);
    INBOX_COUNTERS(X)
#undef X
    put_metric(&out, "inbox_partitions", "gauge", "Partitions assigned.", inbox, c.partitions);
    put_metric(&out, "inbox_partitions_waiting", "gauge", "Of these, held by an event that failed.",
               inbox, c.partitions_waiting);
    put_metric(&out, "inbox_events_held", "gauge", "Events in memory, not yet handled.", inbox,
               c.events_held);
    len = out.len;
    if (size > 0) {
        const size_t n = len < size ? len : size - 1;

        memcpy(buffer, out.data, n);
        buffer[n] = '\0';
    }
    str_release(&out);
    return len;
}
