#include "pg.h"

#include <errno.h>
#include <glob.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define START_TIMEOUT_MS 60000
#define STOP_TIMEOUT_MS  30000

/* ---- the data folder ---- */

/* initdb takes a second: it runs once for a user and a version, and every server gets a copy. */

static const char *server_user(void)
{
    return geteuid() == 0 ? "postgres" : NULL;
}

static uid_t server_uid(void)
{
    const struct passwd *pw = geteuid() == 0 ? getpwnam("postgres") : NULL;

    if (geteuid() == 0 && pw == NULL)
        support_fail("no user postgres on this machine: install postgresql");
    return pw != NULL ? pw->pw_uid : geteuid();
}

/* The newest server below /usr/lib/postgresql, or what pg_config names; $PG_BINDIR goes before
 * both. */
static const char *bin_dir(void)
{
    static char dir[PATH_SIZE];
    const char *set = getenv("PG_BINDIR");
    glob_t found = {0};
    long best = 0;

    if (dir[0] != '\0')
        return dir;
    if (set != NULL) {
        (void)snprintf(dir, sizeof dir, "%s", set);
        return dir;
    }
    if (glob("/usr/lib/postgresql/*/bin/initdb", 0, NULL, &found) == 0)
        for (size_t i = 0; i < found.gl_pathc; i++) {
            long version = strtol(found.gl_pathv[i] + strlen("/usr/lib/postgresql/"), NULL, 10);
            if (version <= best)
                continue;
            best = version;
            (void)snprintf(dir, sizeof dir, "/usr/lib/postgresql/%ld/bin", version);
        }
    globfree(&found);
    if (dir[0] == '\0')
        support_fail("no PostgreSQL server found: install postgresql, or set PG_BINDIR");
    return dir;
}

/* Runs a command as the server's user to its end. */
static int run_as_server(const char *const *argv, const char *cwd, const char *log)
{
    struct proc p;

    proc_start(
        &p, &(struct proc_params){
                .argv = argv, .out_path = log, .err_path = log, .cwd = cwd, .user = server_user()});
    if (!proc_wait(&p, START_TIMEOUT_MS))
        proc_kill9(&p);
    return proc_exit_code(&p);
}

static void own_folder(const char *path)
{
    if (chmod(path, 0700) != 0 || chown(path, server_uid(), (gid_t)-1) != 0)
        support_fail("%s: %s", path, strerror(errno));
}

/* A template belongs to the server's user and cannot be entered by others, or it is not ours to
 * use. */
static bool template_is_good(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == server_uid() &&
           (st.st_mode & 077) == 0;
}

static void make_template(const char *template)
{
    char initdb[PATH_SIZE];
    char dir[PATH_SIZE];
    char data[PATH_SIZE];
    char log[PATH_SIZE];

    tmp_folder("initdb", dir);
    path_join(log, dir, "log");
    path_join(data, dir, "data");
    if (mkdir(data, 0700) != 0)
        support_fail("mkdir %s: %s", data, strerror(errno));
    own_folder(data);
    path_join(initdb, bin_dir(), "initdb");
    if (run_as_server((const char *const[]){initdb, "-D", data, "-U", "postgres", "-A", "trust",
                                            "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", NULL},
                      "/", log) != 0)
        support_fail("initdb failed:\n%s", file_read(log));
    /* Into its place under a name of our own first: two test programs may be here at the same time.
     */
    (void)snprintf(dir, sizeof dir, "%.400s.%d", template, (int)getpid());
    if (proc_run((const char *const[]){"cp", "-a", data, dir, NULL}, log, START_TIMEOUT_MS) != 0)
        support_fail("copy of the template failed: %s", file_read(log));
    if (rename(dir, template) != 0 && !template_is_good(template))
        support_fail("rename %s: %s", dir, strerror(errno));
    (void)proc_run((const char *const[]){"rm", "-rf", "--", dir, NULL}, NULL, START_TIMEOUT_MS);
}

static void copy_template(const char *data)
{
    char template[PATH_SIZE];
    char key[PATH_SIZE];
    char version[64] = "";
    char path[PATH_SIZE];
    struct stat st;

    /* The version's minor number is part of the key by way of the program's change time. */
    path_join(path, bin_dir(), "postgres");
    if (stat(path, &st) != 0)
        support_fail("%s: %s", path, strerror(errno));
    (void)snprintf(version, sizeof version, "%lx-%lx", (unsigned long)st.st_mtim.tv_sec,
                   (unsigned long)st.st_ino);
    (void)snprintf(key, sizeof key, "outboxd-pg-template-%u-%s", (unsigned)server_uid(), version);
    path_join(template, "/tmp", key);
    if (!template_is_good(template))
        make_template(template);
    if (!template_is_good(template))
        support_fail("%s is not ours: remove it", template);
    if (proc_run((const char *const[]){"cp", "-a", template, data, NULL}, NULL, START_TIMEOUT_MS) !=
        0)
        support_fail("copy of %s failed", template);
}

/* Appended to by us while the server's user owns it: as root that works, else we are that user. */
void pg_settle(const struct pg_server *s, const struct pg_params *params)
{
    char path[PATH_SIZE];
    FILE *f;

    path_join(path, s->data, "postgresql.conf");
    f = fopen(path, "ae");
    if (f == NULL)
        support_fail("open %s: %s", path, strerror(errno));
    (void)fprintf(f,
                  "listen_addresses = '127.0.0.1'\nport = %d\nunix_socket_directories = '%s'\n"
                  "max_connections = 200\nshared_buffers = 128MB\nmax_wal_size = 2GB\n"
                  "log_line_prefix = '%%m [%%p] %%u %%a '\ntimezone = 'UTC'\nlog_timezone = 'UTC'\n"
                  "lc_messages = 'C'\nfsync = %s\n",
                  s->port, s->dir, params != NULL && params->fsync ? "on" : "off");
    for (const char *const *set = params != NULL ? params->settings : NULL;
         set != NULL && *set != NULL; set++)
        (void)fprintf(f, "%s\n", *set);
    if (fclose(f) != 0)
        support_fail("write %s: %s", path, strerror(errno));
    if (params != NULL && params->hba != NULL) {
        path_join(path, s->data, "pg_hba.conf");
        file_write(path, "%s", params->hba);
    }
}

void pg_tool(const struct pg_server *s, const char *const *argv)
{
    const char *with_path[32] = {NULL};
    char program[PATH_SIZE];
    char log[PATH_SIZE];

    (void)snprintf(program, sizeof program, "%s", argv[0]);
    if (argv[0][0] != '/')
        path_join(program, bin_dir(), argv[0]);
    path_join(log, s->dir, "tool.log");
    for (size_t i = 0; i < ARRAY_LEN(with_path) - 1 && argv[i] != NULL; i++)
        with_path[i] = argv[i];
    with_path[0] = program;
    if (run_as_server(with_path, "/", log) != 0)
        support_fail("%s failed:\n%s", argv[0], file_read(log));
}

/* ---- its disk ---- */

/* In a mount namespace of our own, so that it goes with us however we end. False where we may not:
 * not root, or a container without CAP_SYS_ADMIN. */
static bool disk_mount(const char *dir, int mib)
{
    static bool apart;
    char options[32];

    (void)snprintf(options, sizeof options, "size=%dm", mib);
    apart = apart ||
            (unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    return apart && mount("tmpfs", dir, "tmpfs", MS_NOSUID | MS_NODEV, options) == 0;
}

static void disk_unmount(const char *dir)
{
    if (umount2(dir, MNT_DETACH) != 0)
        support_fail("umount %s: %s", dir, strerror(errno));
}

/* ---- the server ---- */

void pg_place(struct pg_server *s, const struct pg_params *params)
{
    memset(s, 0, sizeof *s);
    tmp_folder("pg", s->dir);
    path_join(s->data, s->dir, "data");
    path_join(s->log, s->dir, "log");
    s->port = port_free();
    if (params != NULL && params->disk_mib > 0)
        s->has_disk = disk_mount(s->dir, params->disk_mib);
    own_folder(s->dir);
}

void pg_create(struct pg_server *s, const struct pg_params *params)
{
    pg_place(s, params);
    copy_template(s->data);
    pg_settle(s, params);
    pg_start(s);
}

void pg_start_nowait(struct pg_server *s)
{
    char postgres[PATH_SIZE];

    path_join(postgres, bin_dir(), "postgres");
    proc_start(&s->proc, &(struct proc_params){
                             .argv = (const char *const[]){postgres, "-D", s->data, NULL},
                             /* the environment of a developer must not reach the server */
                             .env = (const char *const[]){"PGDATA", "PGOPTIONS", "TZ", NULL},
                             .out_path = s->log,
                             .err_path = s->log,
                             .cwd = "/",
                             .user = server_user(),
                             /* ends the children too, when the test dies */
                             .death_signal = SIGQUIT,
                         });
}

bool pg_is_ready(const struct pg_server *s)
{
    return PQping(pg_url(s, "postgres", "postgres").text) == PQPING_OK;
}

void pg_start(struct pg_server *s)
{
    const uint64_t end = test_now_ms() + START_TIMEOUT_MS;

    pg_start_nowait(s);
    while (!pg_is_ready(s)) {
        if (test_now_ms() >= end)
            support_fail("Postgres does not come up; log: %s\n%s", s->log, file_read(s->log));
        /* After SIGKILL of a postmaster its children keep the shared memory for a moment: try
         * again. */
        if (!proc_alive(&s->proc)) {
            if (!file_holds(s->log, "shared memory block"))
                support_fail("Postgres ended at start:\n%s", file_read(s->log));
            test_sleep_ms(50);
            pg_start_nowait(s);
        }
        test_sleep_ms(5);
    }
}

void pg_stop(struct pg_server *s)
{
    proc_stop(&s->proc, SIGINT, STOP_TIMEOUT_MS);
}

void pg_crash(struct pg_server *s)
{
    proc_stop(&s->proc, SIGQUIT, STOP_TIMEOUT_MS);
}

void pg_kill9(struct pg_server *s)
{
    proc_kill9(&s->proc);
}

void pg_restart(struct pg_server *s)
{
    pg_stop(s);
    pg_start(s);
}

void pg_drop(struct pg_server *s)
{
    if (s->dir[0] == '\0')
        return;
    if (proc_alive(&s->proc))
        pg_crash(s);
    if (s->has_disk)
        disk_unmount(s->dir);
    tmp_remove(s->dir);
    s->dir[0] = '\0';
}

struct pg_url pg_url(const struct pg_server *s, const char *user, const char *dbname)
{
    struct pg_url url;

    if (user == NULL)
        user = "postgres";
    if (s->other_port != 0)
        (void)snprintf(url.text, sizeof url.text, "postgresql://%s@127.0.0.1:%d,127.0.0.1:%d/%s",
                       user, s->port, s->other_port, dbname);
    else
        (void)snprintf(url.text, sizeof url.text, "postgresql://%s@127.0.0.1:%d/%s", user, s->port,
                       dbname);
    return url;
}

int pg_psql(const struct pg_server *s, const char *user, const char *file, const char *command,
            const char *log)
{
    struct pg_url url = pg_url(s, user, "postgres");
    const char *argv[] = {"psql",
                          "-X",
                          "-q",
                          "-v",
                          "ON_ERROR_STOP=1",
                          "-d",
                          url.text,
                          file != NULL ? "-f" : "-c",
                          file != NULL ? file : command,
                          NULL};

    return proc_run(argv, log, START_TIMEOUT_MS);
}

/* sql/FOLDER/NNNN_name.up.sql in order. */
static void apply_files(const struct pg_server *s, const char *folder)
{
    char pattern[PATH_SIZE];
    char log[PATH_SIZE];
    char numbered[64];
    static unsigned count;
    glob_t files = {0};

    (void)snprintf(pattern, sizeof pattern, "%s/sql/%s/[0-9]*.up.sql", source_root(), folder);
    (void)snprintf(numbered, sizeof numbered, "schema-%u.log", ++count);
    path_join(log, tmp_root(), numbered);
    if (glob(pattern, 0, NULL, &files) != 0)
        support_fail("no migrations: %s", pattern);
    for (size_t i = 0; i < files.gl_pathc; i++)
        if (pg_psql(s, "postgres", files.gl_pathv[i], NULL, log) != 0)
            support_fail("%s:\n%s", files.gl_pathv[i], file_read(log));
    globfree(&files);
}

void pg_apply_schema(const struct pg_server *s)
{
    PGconn *conn;

    apply_files(s, "outbox");
    conn = pg_open(s, NULL);
    pg_exec(conn, "CREATE ROLE svc LOGIN IN ROLE outbox_writer");
    pg_exec(conn, "CREATE ROLE relay LOGIN IN ROLE outbox_relay");
    pg_exec(conn, "SELECT outbox.ensure_days(2)");
    pg_exec(conn, "SELECT outbox.make_relay('orders', 'beginning')");
    PQfinish(conn);
}

void pg_apply_inbox(const struct pg_server *s)
{
    PGconn *conn;

    apply_files(s, "inbox");
    conn = pg_open(s, NULL);
    pg_exec(conn, "CREATE ROLE consumer LOGIN IN ROLE inbox_consumer");
    PQfinish(conn);
}
