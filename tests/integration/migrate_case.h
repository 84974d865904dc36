/* What the tests of `outboxd migrate` share: the server with roles that may do less, and several
 * calls at once. Included by one program at a time. */
#ifndef OUTBOXD_TESTS_MIGRATE_CASE_H
#define OUTBOXD_TESTS_MIGRATE_CASE_H

#include "commands.h"

#include <sys/wait.h>
#include <unistd.h>

static inline int start_server(void **state)
{
    PGconn *conn;

    (void)state;
    pg_create(&server, NULL);
    conn = pg_open(&server, NULL);
    pg_exec(conn, "CREATE ROLE nobody LOGIN; CREATE ROLE maker LOGIN CREATEROLE");
    PQfinish(conn);
    return 0;
}

static inline int stop_server(void **state)
{
    (void)state;
    PQfinish(db);
    pg_drop(&server);
    return 0;
}

/* Four processes; all of them succeed. */
static inline void apply_at_once(const struct migrate_params *p)
{
    pid_t pids[4];

    for (size_t i = 0; i < ARRAY_LEN(pids); i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            struct err err;

            _exit(migrate_apply(p, &err) == 0 ? 0 : 1);
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(pids); i++) {
        int status = 0;

        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_int_equal(status, 0);
    }
}

#endif
