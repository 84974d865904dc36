#include "outbox/sql_texts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *sql_query(const char *name)
{
    for (size_t i = 0; i < sql_query_count; i++)
        if (strcmp(sql_queries[i].name, name) == 0)
            return sql_queries[i].text;
    (void)fprintf(stderr, "outboxd: there is no query named \"%s\"\n", name);
    abort();
}
