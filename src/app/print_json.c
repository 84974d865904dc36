#include "app/print_json.h"

#include <stdio.h>

int print_json(json_t *doc)
{
    int rc = doc == NULL
                 ? -1
                 : json_dumpf(doc, stdout,
                              JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(6));

    json_decref(doc);
    if (rc == 0)
        (void)putchar('\n');
    return rc;
}
