#include "outbox/lane_page.h"

#include <assert.h>
#include <string.h>

void lane_page_branches(struct str *out, bool many_new, bool has_xip,
                        const struct sql_value *values, size_t count)
{
    struct str parts[3] = {{0}};
    struct sql_value more[16];

    assert(count + ARRAY_LEN(parts) <= ARRAY_LEN(more));
    memcpy(more, values, count * sizeof values[0]);
    str_puts(&parts[0], "9223372036854775807");
    if (has_xip) {
        str_reset(&parts[0]);
        sql_fill(&parts[0], "lane_until", values, count);
        sql_fill(&parts[1], "lane_stragglers", values, count);
    }
    more[count] = (struct sql_value){"until_id", parts[0].data};
    sql_fill(&parts[2], many_new ? "lane_new_by_id" : "lane_new_by_xid", more, count + 1);
    more[count + 1] = (struct sql_value){"stragglers", parts[1].data};
    more[count + 2] = (struct sql_value){"new_rows", parts[2].data};
    if (has_xip)
        sql_fill(out, "lane_both", more, count + 3);
    else
        str_puts(out, parts[2].data);
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        str_release(&parts[i]);
}
