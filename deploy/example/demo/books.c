#include "books.h"

#include <stdlib.h>
#include <string.h>

#define COUNT_EVERY_MS 250

static const char *const state_names[STATES] = {
#define STATE_(name) #name,
    STATES_(STATE_)
#undef STATE_
};

void books_open(struct books *b, const struct shop *shop)
{
    memset(b, 0, sizeof *b);
    for (int i = 0; i < SERVICES; i++)
        b->db[i] = postgres_open(&shop->postgres, services[i].database, "postgres");
}

void books_close(struct books *b)
{
    for (int i = 0; i < SERVICES; i++) {
        PQfinish(b->db[i]);
        b->db[i] = NULL;
    }
}

long books_number(const struct books *b, enum service database, const char *sql)
{
    return postgres_number(b->db[database], sql);
}

static void count_states(struct books *b)
{
    PGresult *r =
        PQexec(b->db[SERVICE_ORDER], "SELECT state, count(*) FROM shop.orders GROUP BY state");

    memset(b->state, 0, sizeof b->state);
    for (int row = 0; row < PQntuples(r); row++)
        for (int i = 0; i < STATES; i++)
            if (strcmp(PQgetvalue(r, row, 0), state_names[i]) == 0)
                b->state[i] = strtol(PQgetvalue(r, row, 1), NULL, 10);
    PQclear(r);
}

void books_count(struct books *b)
{
    count_states(b);
    for (int i = 0; i < SERVICES; i++) {
        b->claimed[i] = books_number(b, i, "SELECT count(*) FROM inbox.claimed");
        b->failed[i] =
            books_number(b, i, "SELECT count(*) FROM inbox.state WHERE state = 'failed'");
    }
    for (int i = 0; i < RELAYS; i++)
        b->committed[i] = books_number(b, i, "SELECT count(*) FROM outbox.event");
}

void books_turn(struct books *b)
{
    if (test_now_ms() < b->due_ms)
        return;
    b->due_ms = test_now_ms() + COUNT_EVERY_MS;
    books_count(b);
}
