/* The inbox from other languages: the examples of deploy/examples/inbox run on a real Postgres,
 * each with the same events. psql, Python and Java always; Go and Node where they are installed,
 * else a line says that they were not run. What sql/inbox/README.md shows of them is what was run.
 */
#include "../support/check.h"
#include "../support/pg.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MAX_ARGS    24
#define BUILD_MS    300000 /* packages may have to be fetched */
#define RUN_MS      60000
#define RESULT_SIZE 4096
#define OLD         "2001-02-03T04:05:06Z"
#define PYTHON      "/usr/bin/python3" /* whose package is Debian's; another one's may lack it */
#define GO          "/usr/local/go/bin/go"

static struct pg_server server;
static PGconn *owner;

/* One example, ready to run: its words, to which an event's four are added. */
struct example {
    const char *argv[MAX_ARGS];
    size_t words;
    bool by_variables; /* psql: -v name=value */
    int number;        /* makes its events its own */
};

static int start_server(void **state)
{
    char port[16];

    (void)state;
    pg_create(&server, NULL);
    pg_apply_inbox(&server);
    owner = pg_open(&server, NULL);
    pg_exec(owner, "CREATE TABLE payment (order_id bigint, amount bigint CHECK (amount > 0)); "
                   "GRANT INSERT ON payment TO consumer");
    (void)snprintf(port, sizeof port, "%d", server.port);
    assert_int_equal(setenv("PGHOST", "127.0.0.1", 1), 0);
    assert_int_equal(setenv("PGPORT", port, 1), 0);
    assert_int_equal(setenv("PGUSER", "consumer", 1), 0);
    assert_int_equal(setenv("PGDATABASE", "postgres", 1), 0);
    return 0;
}

static int stop_server(void **state)
{
    (void)state;
    PQfinish(owner);
    pg_drop(&server);
    return 0;
}

/* ---- one run ---- */

/* The words for one event. */
struct call {
    const char *argv[MAX_ARGS];
    char text[4][80];
};

static void prepare(struct call *c, const struct example *e, int event, const char *time,
                    const char *amount)
{
    static const char *const names[] = {"event_id=", "event_time=", "order_id=", "amount="};
    size_t n = e->words;

    memcpy(c->argv, e->argv, sizeof c->argv);
    for (int i = 0; i < 4; i++) {
        int at = snprintf(c->text[i], sizeof c->text[i], "%s", e->by_variables ? names[i] : "");
        char *value = c->text[i] + at;
        size_t room = sizeof c->text[i] - (size_t)at;

        if (i == 0)
            (void)snprintf(value, room, "01900000-0000-7000-8000-%08d%04d", e->number, event);
        else if (i == 2)
            (void)snprintf(value, room, "%d", e->number * 10000 + event);
        else
            (void)snprintf(value, room, "%s", i == 1 ? time : amount);
        if (e->by_variables)
            c->argv[n++] = "-v";
        c->argv[n++] = c->text[i];
    }
    c->argv[n] = NULL;
}

/* Runs the example for one event; returns its exit code, what it said is in `said`. */
static int run(const struct example *e, int event, const char *time, const char *amount, char *said)
{
    char path[PATH_SIZE];
    struct call call;
    char *text;
    int code;

    prepare(&call, e, event, time, amount);
    path_join(path, tmp_root(), "said");
    (void)unlink(path);
    code = proc_run(call.argv, path, RUN_MS);
    text = file_read(path);
    (void)snprintf(said, RESULT_SIZE, "%s", text);
    free(text);
    return code;
}

static int64_t payments(const struct example *e, int event)
{
    return pg_int(owner, "SELECT count(*) FROM payment WHERE order_id = %d",
                  e->number * 10000 + event);
}

#define assert_run(e, event, time, amount, words)                                                  \
    do {                                                                                           \
        char said_[RESULT_SIZE];                                                                   \
        int code_ = run((e), (event), (time), (amount), said_);                                    \
        CHECK(code_ == 0 && strcmp(said_, words "\n") == 0, "event %d: exit code %d, said: %s",    \
              (event), code_, said_);                                                              \
    } while (0)

/* ---- what each example must do ---- */

static void race(const struct example *e, int event, const char *now)
{
    struct call call;
    struct proc procs[2];
    char paths[2][PATH_SIZE];
    int taken = 0;
    int seen = 0;

    prepare(&call, e, event, now, "5");
    for (int i = 0; i < 2; i++) {
        struct proc_params params = {.argv = call.argv, .out_path = paths[i]};

        path_join(paths[i], tmp_root(), i == 0 ? "said-a" : "said-b");
        (void)unlink(paths[i]);
        proc_start(&procs[i], &params);
    }
    for (int i = 0; i < 2; i++) {
        assert_true(proc_wait(&procs[i], RUN_MS));
        assert_int_equal(proc_exit_code(&procs[i]), 0);
        taken += file_holds(paths[i], "taken");
        seen += file_holds(paths[i], "seen before");
    }
    assert_int_equal(taken, 1);
    assert_int_equal(seen, 1);
    assert_int_equal(payments(e, event), 1);
}

static void play(const struct example *e)
{
    char said[RESULT_SIZE];
    char now[64];
    int code;

    (void)snprintf(now, sizeof now, "%s",
                   pg_scalar(owner, "SELECT to_char(now() AT TIME ZONE 'UTC', "
                                    "'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"));
    assert_run(e, 1, now, "9900", "taken");
    assert_run(e, 1, now, "9900", "seen before");
    assert_int_equal(payments(e, 1), 1);

    code = run(e, 2, OLD, "9900", said);
    CHECK(strstr(said, e->by_variables ? "IB003" : "too old") != NULL &&
              (code != 0) == e->by_variables,
          "exit code %d, said: %s", code, said);
    assert_int_equal(payments(e, 2), 0);

    code = run(e, 3, now, "-1", said); /* the write is refused: the claim goes with it */
    CHECK(code != 0 && strstr(said, "payment_amount_check") != NULL, "exit code %d, said: %s", code,
          said);
    assert_run(e, 3, now, "5", "taken");
    assert_int_equal(payments(e, 3), 1);

    race(e, 4, now);
}

/* ---- the languages ---- */

static void example_path(char out[PATH_SIZE], const char *name)
{
    char folder[PATH_SIZE];

    path_join(folder, source_root(), "deploy/examples/inbox");
    path_join(out, folder, name);
}

/* A copy of an example's folder, for what a build leaves behind. */
static void copy_folder(const char *name, char out[PATH_SIZE])
{
    char from[PATH_SIZE];
    const char *const argv[] = {"cp", "-r", from, out, NULL};

    example_path(from, name);
    path_join(out, tmp_root(), name);
    assert_int_equal(proc_run(argv, NULL, RUN_MS), 0);
}

static void build(const char *const *argv, const char *cwd)
{
    char log[PATH_SIZE];
    struct proc proc;
    const struct proc_params params = {.argv = argv, .out_path = log, .err_path = log, .cwd = cwd};

    path_join(log, tmp_root(), "build.log");
    proc_start(&proc, &params);
    CHECK(proc_wait(&proc, BUILD_MS) && proc_exit_code(&proc) == 0, "%s: %s", argv[0],
          file_read(log));
}

static void test_psql(void **state)
{
    char file[PATH_SIZE];
    const struct example e = {
        .argv = {"psql", "-X", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose", "-f", file},
        .words = 8,
        .by_variables = true,
        .number = 1};

    (void)state;
    example_path(file, "psql/consumer.sql");
    play(&e);
}

static void test_python(void **state)
{
    char file[PATH_SIZE];
    const char *python = access(PYTHON, X_OK) == 0 ? PYTHON : "python3";
    const struct example e = {.argv = {python, file}, .words = 2, .number = 2};

    (void)state;
    example_path(file, "python/consumer.py");
    play(&e);
}

static void test_java(void **state)
{
    char file[PATH_SIZE];
    char classes[PATH_SIZE];
    char path[3 * PATH_SIZE];
    char jars[PATH_SIZE];
    char jdbc[512];
    const char *const compile[] = {
        "java",  "-cp", path, "org.eclipse.jdt.internal.compiler.batch.Main", "-11", "-d",
        classes, file,  NULL};
    const struct example e = {
        .argv = {"java", "-cp", path, "Consumer", jdbc}, .words = 5, .number = 3};

    (void)state;
    if (getenv("JDBC_LIB") != NULL)
        (void)snprintf(jars, sizeof jars, "%s", getenv("JDBC_LIB"));
    else
        path_join(jars, build_root(), "jdbc-lib");
    tmp_folder("java", classes);
    example_path(file, "java/Consumer.java");
    (void)snprintf(path, sizeof path, "%s:%s/*", classes, jars);
    (void)snprintf(jdbc, sizeof jdbc, "jdbc:postgresql://127.0.0.1:%d/postgres?user=consumer",
                   server.port);
    build(compile, NULL);
    play(&e);
}

static void test_go(void **state)
{
    char folder[PATH_SIZE];
    char program[PATH_SIZE];
    const char *const compile[] = {
        access(GO, X_OK) == 0 ? GO : "go", "build", "-o", "consumer", ".", NULL};
    const struct example e = {.argv = {program}, .words = 1, .number = 4};

    (void)state;
    copy_folder("go", folder);
    build(compile, folder);
    path_join(program, folder, "consumer");
    play(&e);
}

static void test_node(void **state)
{
    char folder[PATH_SIZE];
    char file[PATH_SIZE];
    const char *const fetch[] = {"npm", "ci", "--no-audit", "--no-fund", NULL};
    const struct example e = {.argv = {"node", file}, .words = 2, .number = 5};

    (void)state;
    copy_folder("node", folder);
    build(fetch, folder);
    path_join(file, folder, "consumer.js");
    play(&e);
}

/* ---- the documentation ---- */

static void test_readme_shows_what_runs(void **state)
{
    static const struct {
        const char *fence;
        const char *file;
    } blocks[] = {
        {"```python\n", "python/consumer.py"},
        {"```java\n", "java/Consumer.java"},
        {"```go\n", "go/main.go"},
        {"```js\n", "node/consumer.js"},
        {"```psql\n", "psql/consumer.sql"},
    };
    char path[PATH_SIZE];
    char *readme;

    (void)state;
    path_join(path, source_root(), "sql/inbox/README.md");
    readme = file_read(path);
    for (size_t i = 0; i < ARRAY_LEN(blocks); i++) {
        char *from = strstr(readme, blocks[i].fence);
        char *end;
        char *file;
        char saved;

        if (from == NULL) {
            fail_msg("sql/inbox/README.md shows nothing of %s", blocks[i].file);
            return;
        }
        from += strlen(blocks[i].fence);
        end = strstr(from, "```");
        if (end == NULL) {
            fail_msg("sql/inbox/README.md: %s does not end", blocks[i].file);
            return;
        }
        saved = *end;
        *end = '\0';
        example_path(path, blocks[i].file);
        file = file_read(path);
        CHECK(end - from > 100 && strstr(file, from) != NULL,
              "sql/inbox/README.md shows what does not stand in %s:\n%s", blocks[i].file, from);
        *end = saved;
        free(file);
    }
    free(readme);
}

/* ---- */

static bool installed(const char *program)
{
    const char *const argv[] = {"sh", "-c", "command -v \"$0\"", program, NULL};

    return proc_run(argv, NULL, RUN_MS) == 0;
}

int main(void)
{
    struct CMUnitTest tests[6] = {
        cmocka_unit_test(test_readme_shows_what_runs),
        cmocka_unit_test(test_psql),
        cmocka_unit_test(test_python),
        cmocka_unit_test(test_java),
    };
    size_t count = 4;

    if (access(GO, X_OK) == 0 || installed("go"))
        tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_go);
    else
        printf("# not run: the example in Go: there is no go\n");
    if (installed("node") && installed("npm"))
        tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_node);
    else
        printf("# not run: the example in JavaScript: there is no node, or no npm\n");
    (void)fflush(stdout);
    return _cmocka_run_group_tests("tests", tests, count, start_server, stop_server);
}
