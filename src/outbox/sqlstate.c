#include "outbox/sqlstate.h"

#include <stddef.h>
#include <string.h>

/* The first that fits counts; fewer than five characters are a class. */
static const struct {
    const char *state;
    enum err_kind kind;
    enum problem problem;
} judgements[] = {
    {"08", ERR_UNAVAILABLE, PROBLEM_DATABASE_UNREACHABLE},
    {"22", ERR_CONFIG, PROBLEM_DATABASE_ERROR},           /* a value that we were given is wrong */
    {"25006", ERR_UNAVAILABLE, PROBLEM_DATABASE_STANDBY}, /* read-only */
    {"28", ERR_CONFIG, PROBLEM_DATABASE_REFUSED},         /* password, pg_hba.conf, no such role */
    {"2B", ERR_CONFIG, PROBLEM_DATABASE_ERROR},   /* something depends on what is to be dropped */
    {"3D", ERR_CONFIG, PROBLEM_DATABASE_REFUSED}, /* no such database */
    {"3F", ERR_CONFIG, PROBLEM_SCHEMA_MISSING},
    {"40", ERR_TEMPFAIL, PROBLEM_DATABASE_ERROR}, /* deadlock, serialisation */
    {"42501", ERR_CONFIG, PROBLEM_GRANTS_MISSING},
    {"42703", ERR_CONFIG, PROBLEM_SCHEMA_OLDER},            /* no such column */
    {"42883", ERR_CONFIG, PROBLEM_SCHEMA_OLDER},            /* no such function */
    {"42P01", ERR_CONFIG, PROBLEM_SCHEMA_MISSING},          /* no such table */
    {"42", ERR_CONFIG, PROBLEM_DATABASE_ERROR},             /* objects that are in the way */
    {"53", ERR_UNAVAILABLE, PROBLEM_DATABASE_FULL},         /* connections, disk, memory */
    {"55P03", ERR_TEMPFAIL, PROBLEM_DATABASE_ERROR},        /* lock_timeout */
    {"57014", ERR_TEMPFAIL, PROBLEM_DATABASE_ERROR},        /* statement_timeout, cancelled */
    {"57P", ERR_UNAVAILABLE, PROBLEM_DATABASE_UNREACHABLE}, /* shutting down, starting */
    {"P0002", ERR_CONFIG, PROBLEM_RELAY_MISSING},
};

void sqlstate_judge(const char *sqlstate, struct err *err)
{
    if (sqlstate == NULL || sqlstate[0] == '\0')
        sqlstate = "08000";
    err->kind = ERR_SOFTWARE;
    err->problem = PROBLEM_DATABASE_ERROR;
    for (size_t i = 0; i < ARRAY_LEN(judgements); i++)
        if (strncmp(sqlstate, judgements[i].state, strlen(judgements[i].state)) == 0) {
            err->kind = judgements[i].kind;
            err->problem = judgements[i].problem;
            return;
        }
}
