#include "outbox/upkeep.h"

#include <string.h>

void upkeep_release(struct upkeep *u)
{
    str_release(&u->partition);
    str_release(&u->reason);
    str_release(&u->found);
    str_release(&u->told);
}

void upkeep_begin(struct upkeep *u)
{
    u->partitions = 0;
    str_reset(&u->partition);
    str_reset(&u->reason);
    str_reset(&u->found);
}

void upkeep_wrong(struct upkeep *u, const char *partition, const char *reason)
{
    if (u->found.len == 0) {
        str_set(&u->partition, partition);
        str_set(&u->reason, reason);
    }
    u->partitions += partition != NULL;
    str_printf(&u->found, "%s %s\n", partition != NULL ? partition : "", reason);
}

void upkeep_refused(struct upkeep *u, const char *sqlstate, const char *text)
{
    struct str reason = {0};

    str_printf(&reason, "%s (SQLSTATE %s)", text, sqlstate);
    upkeep_wrong(u, NULL, reason.data);
    str_release(&reason);
}

bool upkeep_is_news(const struct upkeep *u)
{
    return strcmp(str_text(&u->found), str_text(&u->told)) != 0;
}

void upkeep_told(struct upkeep *u, uint64_t now_ms)
{
    if (u->told.len == 0)
        u->told_since_ms = now_ms;
    str_copy(&u->told, &u->found);
}

uint64_t upkeep_lasted_s(const struct upkeep *u, uint64_t now_ms)
{
    return (now_ms - u->told_since_ms) / 1000;
}

const char *upkeep_remedy(const struct upkeep_remedy *remedies, size_t count, const char *reason,
                          const char *otherwise)
{
    for (size_t i = 0; i < count; i++)
        if (strstr(reason, remedies[i].part) != NULL)
            return remedies[i].text;
    return otherwise;
}

uint32_t upkeep_limit_ms(uint32_t lease_ttl_ms, uint32_t timeout_ms)
{
    uint32_t limit = lease_ttl_ms / 4;

    if (limit > timeout_ms / 2)
        limit = timeout_ms / 2;
    return limit > 0 ? limit : 1;
}
