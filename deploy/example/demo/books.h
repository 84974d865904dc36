/* What the services have written to their databases: counted while they work, and added up at the
 * end. */
#ifndef OUTBOXD_EXAMPLE_BOOKS_H
#define OUTBOXD_EXAMPLE_BOOKS_H

#include "shop.h"

/* As the order service names them. */
#define STATES_(X)                                                                                 \
    X(PENDING)                                                                                     \
    X(PLACED)                                                                                      \
    X(PAID)                                                                                        \
    X(SHIPPED)                                                                                     \
    X(CANCELLED)

enum state {
#define STATE_(name) STATE_##name,
    STATES_(STATE_)
#undef STATE_
        STATES
};

struct books {
    long state[STATES];     /* orders */
    long claimed[SERVICES]; /* events that took effect */
    long failed[SERVICES];  /* events that were given up */
    long committed[RELAYS]; /* events of transactions that committed */
    /* private */
    PGconn *db[SERVICES];
    uint64_t due_ms;
};

void books_open(struct books *b, const struct shop *shop);
void books_close(struct books *b);

/* Counts anew, a few times a second. */
void books_turn(struct books *b);
void books_count(struct books *b); /* at once */

/* A number out of one of the databases; ends the demo when there is none. */
long books_number(const struct books *b, enum service database, const char *sql);

#endif
