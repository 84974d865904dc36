#include "stopwatch.h"

#include "base/err.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *insert_events(void *arg)
{
    struct stopwatch *w = arg;
    PGconn *conn = pg_try_open(w->pg, "svc", 5);

    PQclear(PQexec(conn, "SET lock_timeout = '50ms'"));
    while (!atomic_load(&w->stop) && w->error[0] == '\0') {
        uint64_t begun = test_now_us();
        PGresult *res = PQexec(conn, STOPWATCH_EVENT);
        unsigned took = (unsigned)(test_now_us() - begun);

        if (PQresultStatus(res) != PGRES_COMMAND_OK)
            (void)snprintf(w->error, sizeof(w->error), "%s: %s", PQresultErrorMessage(res),
                           PQerrorMessage(conn));
        PQclear(res);
        w->events++;
        if (took > w->slowest_us)
            w->slowest_us = took;
    }
    PQfinish(conn);
    return NULL;
}

void stopwatch_start(struct stopwatch *w, const struct pg_server *pg)
{
    memset(w, 0, sizeof(*w));
    w->pg = pg;
    if (pthread_create(&w->thread, NULL, insert_events, w) != 0)
        support_fail("cannot start a thread");
}

void stopwatch_stop(struct stopwatch *w, const char *beside)
{
    atomic_store(&w->stop, true);
    if (pthread_join(w->thread, NULL) != 0)
        support_fail("cannot join the thread");
    if (w->error[0] != '\0')
        support_fail("an insert beside %s failed: %s", beside, w->error);
    if (w->events <= 20)
        support_fail("only %u inserts beside %s", w->events, beside);
    (void)printf("# %u inserts beside %s, the slowest took %u us\n", w->events, beside,
                 w->slowest_us);
}

double stopwatch_slowest_lock_ms(const struct pg_server *pg)
{
    char *text = file_read(pg->log);
    double slowest = 0;

    for (const char *p = text; (p = strstr(p, " acquired RowExclusiveLock ")) != NULL; p++) {
        const char *after = strstr(p, " after ");
        double ms = after != NULL ? strtod(after + strlen(" after "), NULL) : 0;

        slowest = ms > slowest ? ms : slowest;
    }
    free(text);
    return slowest;
}
