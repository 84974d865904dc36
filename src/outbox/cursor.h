/* The columns of one row of an answer, taken one after the other in the order of the query. For
 * commands: text format. */
#ifndef OUTBOXD_OUTBOX_CURSOR_H
#define OUTBOXD_OUTBOX_CURSOR_H

#include "outbox/command.h"

#include <stdlib.h>

struct cursor {
    const PGresult *rows;
    int row;
    int column;
};

/* "" for NULL; good as long as the rows are. */
static inline const char *cursor_text(struct cursor *c)
{
    return PQgetvalue(c->rows, c->row, c->column++);
}

static inline int64_t cursor_int(struct cursor *c)
{
    return command_int(c->rows, c->row, c->column++);
}

static inline double cursor_seconds(struct cursor *c)
{
    return strtod(cursor_text(c), NULL);
}

static inline bool cursor_bool(struct cursor *c)
{
    return command_bool(c->rows, c->row, c->column++);
}

#endif
