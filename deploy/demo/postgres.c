#include "postgres.h"

#include "say.h"

#include <errno.h>
#include <glob.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* "<folder of the newest Postgres in Debian's places>/<program>", or the bare name, which PATH has
 * to find. */
static void find_program(const char *program, char out[PATH_SIZE])
{
    static const char places[] = "/usr/lib/postgresql/";
    glob_t found;
    long best = 0;

    (void)snprintf(out, PATH_SIZE, "%s", program);
    if (glob("/usr/lib/postgresql/*/bin/postgres", 0, NULL, &found) != 0)
        return;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        const long version = strtol(found.gl_pathv[i] + sizeof places - 1, NULL, 10);
        if (version > best) {
            best = version;
            (void)snprintf(out, PATH_SIZE, "%s%ld/bin/%s", places, version, program);
        }
    }
    globfree(&found);
}

/* Postgres refuses to run as root. */
static const char *postgres_user(void)
{
    return geteuid() == 0 ? "postgres" : NULL;
}

static void make_postgres_folder(const char *path)
{
    const struct passwd *pw = postgres_user() != NULL ? getpwnam(postgres_user()) : NULL;

    if (mkdir(path, 0755) != 0)
        give_up(NULL, "mkdir %s: %s", path, strerror(errno));
    if (postgres_user() == NULL)
        return;
    if (pw == NULL)
        give_up(NULL, "Postgres does not run as root, and this machine has no user postgres");
    if (chown(path, pw->pw_uid, pw->pw_gid) != 0)
        give_up(NULL, "chown %s: %s", path, strerror(errno));
}

static void make_cluster(const char *data, const char *log)
{
    char initdb[PATH_SIZE];
    struct proc p;

    find_program("initdb", initdb);
    proc_start(&p,
               &(struct proc_params){
                   .argv = (const char *const[]){initdb, "-D", data, "-U", "postgres", "-A",
                                                 "trust", "-E", "UTF8", "--locale=C", "-N", NULL},
                   .user = postgres_user(),
                   .out_path = log,
                   .err_path = log});
    if (!proc_wait(&p, 60000) || proc_exit_code(&p) != 0)
        give_up(log, "initdb failed");
}

const char *postgres_url(const struct postgres *pg, const char *database, const char *user)
{
    static char url[2 * PATH_SIZE];

    (void)snprintf(url, sizeof url, "postgres:///%s?host=%s&user=%s", database, pg->socket_dir,
                   user);
    return url;
}

static void ignore_notice(void *arg, const PGresult *notice)
{
    (void)arg;
    (void)notice;
}

PGconn *postgres_open(const struct postgres *pg, const char *database, const char *user)
{
    PGconn *db = PQconnectdb(postgres_url(pg, database, user));

    if (PQstatus(db) != CONNECTION_OK)
        give_up(pg->log, "%s", PQerrorMessage(db));
    (void)PQsetNoticeReceiver(db, ignore_notice, NULL);
    return db;
}

void postgres_exec(PGconn *db, const char *sql)
{
    PGresult *r = PQexec(db, sql);

    if (PQresultStatus(r) != PGRES_COMMAND_OK && PQresultStatus(r) != PGRES_TUPLES_OK)
        give_up(NULL, "%s: %s", sql, PQerrorMessage(db));
    PQclear(r);
}

long postgres_number(PGconn *db, const char *sql)
{
    PGresult *r = PQexec(db, sql);
    long number;

    if (PQntuples(r) != 1 || PQgetisnull(r, 0, 0))
        give_up(NULL, "%s: %s", sql, PQerrorMessage(db));
    number = strtol(PQgetvalue(r, 0, 0), NULL, 10);
    PQclear(r);
    return number;
}

/* Returns when somebody can connect. */
static void await_answer(struct postgres *pg)
{
    const uint64_t end = test_now_ms() + 30000;
    const char *url = postgres_url(pg, "postgres", "postgres");

    while (PQping(url) != PQPING_OK) {
        if (!proc_alive(&pg->proc))
            give_up(pg->log, "Postgres did not start");
        if (test_now_ms() >= end)
            give_up(pg->log, "Postgres does not answer");
        test_sleep_ms(20);
    }
}

void postgres_start(struct postgres *pg, const char *dir)
{
    char data[PATH_SIZE];
    char postgres[PATH_SIZE];

    path_join(pg->socket_dir, dir, "pg");
    path_join(data, pg->socket_dir, "data");
    path_join(pg->log, dir, "postgres.log");
    make_postgres_folder(pg->socket_dir);
    make_cluster(data, pg->log);
    find_program("postgres", postgres);
    proc_start(&pg->proc,
               &(struct proc_params){.argv = (const char *const[]){postgres, "-D", data, "-k",
                                                                   pg->socket_dir, "-c",
                                                                   "listen_addresses=", NULL},
                                     .user = postgres_user(),
                                     .death_signal = SIGQUIT,
                                     .out_path = pg->log,
                                     .err_path = pg->log});
    await_answer(pg);
}

void postgres_stop(struct postgres *pg)
{
    proc_signal(&pg->proc, SIGQUIT);
    if (!proc_wait(&pg->proc, 5000))
        proc_signal(&pg->proc, SIGKILL);
}
