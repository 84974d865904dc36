/* The answer of a command as one JSON object on stdout. */
#ifndef OUTBOXD_APP_PRINT_JSON_H
#define OUTBOXD_APP_PRINT_JSON_H

#include "base/err.h"

#include <jansson.h>

/* Takes `doc` over. -1 when it is NULL, since jansson could not make it, or cannot be written. */
int print_json(json_t *doc);

#endif
