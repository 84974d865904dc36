#include "pg_faults.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FOLLOW_TIMEOUT_MS 60000

/* ---- a machine that hangs ---- */

/* Its children are in sessions of their own, and nobody's when it is dead: it comes last. */
static void for_each_process(const struct pg_server *s, void (*fn)(const struct pg_server *, pid_t))
{
    glob_t found = {0};

    if (glob("/proc/[0-9]*/stat", 0, NULL, &found) != 0)
        support_fail("cannot read /proc");
    for (size_t i = 0; i < found.gl_pathc; i++) {
        char line[512] = "";
        FILE *f = fopen(found.gl_pathv[i], "re");
        const char *name_end =
            f != NULL && fgets(line, sizeof line, f) != NULL ? strrchr(line, ')') : NULL;

        /* "pid (name) state ppid ..." */
        if (name_end != NULL && strlen(name_end) > 4 &&
            strtol(name_end + 4, NULL, 10) == s->proc.pid)
            fn(s, (pid_t)strtol(line, NULL, 10));
        if (f != NULL)
            (void)fclose(f);
    }
    globfree(&found);
    fn(s, s->proc.pid);
}

static void stop_one(const struct pg_server *s, pid_t pid)
{
    (void)s;
    (void)kill(pid, SIGSTOP);
}

static void continue_one(const struct pg_server *s, pid_t pid)
{
    (void)s;
    (void)kill(pid, SIGCONT);
}

static void kill_one(const struct pg_server *s, pid_t pid)
{
    (void)s;
    (void)kill(pid, SIGKILL);
}

void pg_freeze(struct pg_server *s)
{
    (void)kill(s->proc.pid, SIGSTOP); /* it must not start more meanwhile */
    for_each_process(s, stop_one);
}

void pg_thaw(struct pg_server *s)
{
    for_each_process(s, continue_one);
}

void pg_kill_frozen(struct pg_server *s)
{
    for_each_process(s, kill_one);
    proc_kill9(&s->proc);
}

/* ---- a disk that is full ---- */

/* As the server's user, which may do this to its own processes without being root. A process that
 * has ended meanwhile is fine. */
static void limit_files(pid_t pid, const char *limit, const struct pg_server *s)
{
    char command[128];

    (void)snprintf(command, sizeof command, "prlimit --pid %d %s || test ! -d /proc/%d", (int)pid,
                   limit, (int)pid);
    pg_tool(s, (const char *const[]){"/bin/sh", "-c", command, NULL});
}

static void forbid_growth(const struct pg_server *s, pid_t pid)
{
    limit_files(pid, "--fsize=65536:unlimited", s);
}

static void allow_growth(const struct pg_server *s, pid_t pid)
{
    limit_files(pid, "--fsize=unlimited:unlimited", s);
}

static void ballast_path(const struct pg_server *s, char out[PATH_SIZE])
{
    path_join(out, s->dir, "ballast");
}

static void put_ballast(const struct pg_server *s)
{
    static const char page[4096] = "full";
    char path[PATH_SIZE];
    int fd;

    ballast_path(s, path);
    fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0)
        support_fail("create %s: %s", path, strerror(errno));
    while (write(fd, page, sizeof page) > 0)
        ;
    (void)close(fd);
}

void pg_fill_disk(struct pg_server *s)
{
    if (s->has_disk)
        put_ballast(s);
    else
        for_each_process(s, forbid_growth);
}

void pg_free_disk(struct pg_server *s)
{
    char path[PATH_SIZE];

    ballast_path(s, path);
    if (s->has_disk)
        (void)unlink(path);
    else if (proc_alive(&s->proc))
        for_each_process(s, allow_growth);
}

/* ---- a failover ---- */

void pg_create_standby(struct pg_server *standby, struct pg_server *primary)
{
    char source[256];
    PGconn *conn = pg_open(primary, NULL);

    pg_place(standby, NULL);
    (void)snprintf(source, sizeof source, "host=127.0.0.1 port=%d user=postgres", primary->port);
    pg_tool(standby, (const char *const[]){"pg_basebackup", "-D", standby->data, "-d", source, "-R",
                                           "-X", "stream", "-c", "fast", "--no-sync", NULL});
    pg_settle(standby, NULL);
    pg_start(standby);
    pg_exec(conn, "ALTER SYSTEM SET synchronous_standby_names = '*'");
    pg_exec(conn, "SELECT pg_reload_conf()");
    WAIT_UNTIL(pg_int(conn, "SELECT count(*) FROM pg_stat_replication"
                            " WHERE state = 'streaming' AND sync_state = 'sync'") == 1,
               FOLLOW_TIMEOUT_MS);
    PQfinish(conn);
    primary->other_port = standby->port;
}

void pg_promote(struct pg_server *standby)
{
    PGconn *conn = pg_open(standby, NULL);

    pg_exec(conn, "SELECT pg_promote(true, 30)");
    WAIT_UNTIL(pg_int(conn, "SELECT pg_is_in_recovery()::int") == 0, FOLLOW_TIMEOUT_MS);
    PQfinish(conn);
}

/* ---- an upgrade ---- */

/* The folder of the running server's program. */
static void programs_of(const struct pg_server *s, char out[PATH_SIZE])
{
    char link[64];
    ssize_t len;

    (void)snprintf(link, sizeof link, "/proc/%d/exe", (int)s->proc.pid);
    len = readlink(link, out, PATH_SIZE - 1);
    if (len <= 0)
        support_fail("readlink %s: %s", link, strerror(errno));
    out[len] = '\0';
    *strrchr(out, '/') = '\0';
}

void pg_upgrade(struct pg_server *next, struct pg_server *old)
{
    char bin[PATH_SIZE];
    char command[8 * PATH_SIZE];

    programs_of(old, bin);
    pg_stop(old);
    pg_place(next, NULL);
    /* not a copy of the template, whose system identifier is the old one's */
    pg_tool(next, (const char *const[]){"initdb", "-D", next->data, "-U", "postgres", "-A", "trust",
                                        "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", NULL});
    (void)snprintf(command, sizeof command,
                   "cd %s && exec %s/pg_upgrade -b %s -B %s -d %s -D %s -p %d -P %d -U postgres",
                   next->dir, bin, bin, bin, old->data, next->data, old->port, next->port);
    pg_tool(next, (const char *const[]){"/bin/sh", "-c", command, NULL});
    pg_settle(next, NULL);
    pg_start(next);
    pg_drop(old);
}
