#include "servers.h"

#include "say.h"

#include <errno.h>
#include <glob.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DATABASE "shop"

static struct servers *running; /* for the exit handler */

void give_up(const char *log, const char *fmt, ...)
{
    va_list ap;

    (void)fflush(stdout);
    (void)fputs("\ndemo: ", stderr);
    va_start(ap, fmt);
    (void)vfprintf(stderr, fmt, ap);
    va_end(ap);
    (void)fputc('\n', stderr);
    if (log != NULL && access(log, R_OK) == 0) {
        (void)printf("The end of its log:\n");
        say_file_end(log, 15);
    }
    exit(ERR_SOFTWARE);
}

/* The build folder, seen from this program: BUILD/deploy/demo/demo. */
static void find_build(char out[PATH_SIZE])
{
    ssize_t n = readlink("/proc/self/exe", out, PATH_SIZE - 1);

    if (n <= 0)
        give_up(NULL, "readlink /proc/self/exe: %s", strerror(errno));
    out[n] = '\0';
    for (int up = 0; up < 3; up++) {
        char *slash = strrchr(out, '/');
        if (slash != NULL)
            *slash = '\0';
    }
}

void servers_init(struct servers *s)
{
    memset(s, 0, sizeof *s);
    find_build(s->build);
    (void)snprintf(s->dir, sizeof s->dir, "%s", tmp_root());
    path_join(s->config, s->dir, "outboxd.yaml");
    path_join(s->relay_log, s->dir, "relay.log");
    path_join(s->service_log, s->dir, "events.log");
    running = s;
    /* Runs before the handler that kills what is left and removes the folder: Postgres ends in
     * order. */
    if (atexit(servers_stop) != 0)
        give_up(NULL, "atexit failed");
}

void servers_stop(void)
{
    struct servers *s = running;

    running = NULL;
    if (s == NULL)
        return;
    proc_signal(&s->service, SIGKILL);
    proc_signal(&s->relay, SIGKILL);
    proc_signal(&s->broker, SIGKILL);
    proc_signal(&s->postgres, SIGQUIT); /* at once, without a checkpoint: the data goes anyway */
    if (!proc_wait(&s->postgres, 5000))
        proc_signal(&s->postgres, SIGKILL);
}

/* ---- Postgres ---- */

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

const char *postgres_url(const struct servers *s, const char *user)
{
    static char url[2 * PATH_SIZE];

    (void)snprintf(url, sizeof url, "postgres:///%s?host=%s/pg&user=%s", DATABASE, s->dir, user);
    return url;
}

void postgres_exec(PGconn *db, const char *sql)
{
    PGresult *r = PQexec(db, sql);

    if (PQresultStatus(r) != PGRES_COMMAND_OK && PQresultStatus(r) != PGRES_TUPLES_OK)
        give_up(NULL, "%s: %s", sql, PQerrorMessage(db));
    PQclear(r);
}

PGconn *postgres_open(const struct servers *s, const char *user)
{
    PGconn *db = PQconnectdb(postgres_url(s, user));

    if (PQstatus(db) != CONNECTION_OK)
        give_up(NULL, "%s", PQerrorMessage(db));
    return db;
}

void postgres_start(struct servers *s)
{
    char folder[PATH_SIZE];
    char data[PATH_SIZE];
    char log[PATH_SIZE];
    char postgres[PATH_SIZE];
    char first[2 * PATH_SIZE];
    PGconn *db = NULL;

    path_join(folder, s->dir, "pg");
    path_join(data, folder, "data");
    path_join(log, s->dir, "postgres.log");
    make_postgres_folder(folder);
    make_cluster(data, log);
    find_program("postgres", postgres);
    /* Reached through a socket in our folder only: no port is taken. */
    proc_start(&s->postgres, &(struct proc_params){
                                 .argv = (const char *const[]){postgres, "-D", data, "-k", folder,
                                                               "-c", "listen_addresses=", NULL},
                                 .user = postgres_user(),
                                 .death_signal = SIGQUIT,
                                 .out_path = log,
                                 .err_path = log});
    (void)snprintf(first, sizeof first, "postgres:///postgres?host=%s&user=postgres", folder);
    for (const uint64_t end = test_now_ms() + 30000; test_now_ms() < end; test_sleep_ms(20)) {
        if (!proc_alive(&s->postgres))
            give_up(log, "Postgres did not start");
        db = PQconnectdb(first);
        if (PQstatus(db) == CONNECTION_OK)
            break;
        PQfinish(db);
        db = NULL;
    }
    if (db == NULL)
        give_up(log, "Postgres does not answer");
    postgres_exec(db, "CREATE DATABASE " DATABASE);
    PQfinish(db);
}

/* ---- the broker, the relay and the service ---- */

/* The first line of a file, once it is complete. */
static bool read_line(const char *path, char *out, size_t size)
{
    char *text;
    size_t len;
    bool complete;

    if (access(path, R_OK) != 0)
        return false;
    text = file_read(path);
    len = strcspn(text, "\n");
    complete = text[len] == '\n' && len > 0 && len < size;
    if (complete)
        (void)snprintf(out, size, "%.*s", (int)len, text);
    free(text);
    return complete;
}

void mock_broker_start(struct servers *s, const char *topic, int partitions)
{
    char program[PATH_SIZE];
    char port_file[PATH_SIZE];
    char log[PATH_SIZE];
    char spec[300];

    path_join(program, s->build, "tests/tools/mock_broker");
    path_join(port_file, s->dir, "broker.port");
    path_join(log, s->dir, "broker.log");
    (void)snprintf(spec, sizeof spec, "%s:%d", topic, partitions);
    proc_start(&s->broker,
               &(struct proc_params){.argv = (const char *const[]){program, "--topic", spec,
                                                                   "--port-file", port_file, NULL},
                                     .out_path = log,
                                     .err_path = log});
    for (const uint64_t end = test_now_ms() + 10000;
         !read_line(port_file, s->brokers, sizeof s->brokers); test_sleep_ms(5))
        if (!proc_alive(&s->broker) || test_now_ms() > end)
            give_up(log, "the embedded broker did not start");
}

void migrate(struct servers *s, const char *log)
{
    char program[PATH_SIZE];
    char url[2 * PATH_SIZE];
    const char *const argv[] = {program, "migrate", "-c", s->config, "--url", url, NULL};

    path_join(program, s->build, "outboxd");
    (void)snprintf(url, sizeof url, "%s", postgres_url(s, "postgres"));
    if (proc_run(argv, log, 30000) != 0)
        give_up(log, "outboxd migrate failed");
}

void relay_start(struct servers *s)
{
    char program[PATH_SIZE];

    path_join(program, s->build, "outboxd");
    proc_start(&s->relay, &(struct proc_params){
                              .argv = (const char *const[]){program, "run", "-c", s->config, NULL},
                              .out_path = s->relay_log,
                              .err_path = s->relay_log});
}

void service_start(struct servers *s, int workers, int pause_ms)
{
    char program[PATH_SIZE];
    char url[2 * PATH_SIZE];
    char log[PATH_SIZE];
    char numbers[2][16];

    path_join(program, s->build, "deploy/demo/order_service");
    path_join(log, s->dir, "service.log");
    (void)snprintf(url, sizeof url, "%s", postgres_url(s, "shop"));
    (void)snprintf(numbers[0], sizeof numbers[0], "%d", workers);
    (void)snprintf(numbers[1], sizeof numbers[1], "%d", pause_ms);
    proc_start(&s->service,
               &(struct proc_params){
                   .argv = (const char *const[]){program, url, numbers[0], numbers[1], NULL},
                   .out_path = s->service_log,
                   .err_path = log});
}
