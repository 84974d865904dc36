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

int when_parse_span(const struct when_span *span, int64_t now_us, int64_t *from_us,
                    int64_t *until_us, struct err *err)
{
    if (span->from != NULL && when_parse(span->from_option, span->from, now_us, from_us, err) != 0)
        return -1;
    if (span->until != NULL && when_parse("until", span->until, now_us, until_us, err) != 0)
        return -1;
    if (*from_us >= *until_us)
        return err_set(err, ERR_USAGE, "--%s must be before --until", span->from_option);
    return 0;
}
