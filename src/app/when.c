#include "app/when.h"

#include "message/message.h"
#include "settings/value.h"

int when_parse(const char *option, const char *text, int64_t now_us, int64_t *us, struct err *err)
{
    struct err why;
    uint32_t ago_ms;

    if (message_parse_time(slice_of(text), us))
        return 0;
    if (value_parse_duration(text, 0, UINT32_MAX, &ago_ms, &why) != 0)
        return err_set(err, ERR_USAGE,
                       "--%s takes a time such as 2026-01-31T12:00:00Z, a date, or a duration such "
                       "as 2h for that long ago, not \"%.60s\"",
                       option, text);
    *us = now_us - (int64_t)ago_ms * 1000;
    return 0;
}
