/* The pages that tell users what to type: every command of deploy/docs/tutorial.md is run in its
 * order, and must print what the page shows; so are the quick start of README.md and the statements
 * of the runbook. Servers, roles' passwords and folders are private; outboxd is installed into a
 * folder of its own, as a user would. */
#include "../support/check.h"
#include "../support/document.h"
#include "../support/kafka.h"
#include "../support/pg.h"
#include "../support/shell.h"

#include "base/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define TUTORIAL   "deploy/docs/tutorial.md"
#define STEP_MS    60000
#define AGAIN_MS   60000
#define PYTHON     "/usr/bin/python3" /* whose packages are Debian's; another one's may lack them */
#define MAX_VALUES 24

static struct pg_server server;
static struct kafka kafka;
static char installed[PATH_SIZE]; /* PREFIX of make install */
static char programs[PATH_SIZE];  /* comes first in the PATH */

/* ---- the machine ---- */

static void install(void)
{
    char prefix[PATH_SIZE + 16];
    char build[PATH_SIZE + 16];
    char log[PATH_SIZE];
    /* What is built is as it is: `all` counts as done. */
    const char *const argv[] = {"make", "-s", "-o", "all", "install", prefix, build, NULL};
    static const char *const env[] = {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "SAN", "DESTDIR", NULL};
    const struct proc_params params = {
        .argv = argv, .env = env, .cwd = source_root(), .out_path = log, .err_path = log};
    struct proc proc;

    tmp_folder("usr", installed);
    path_join(log, tmp_root(), "install.log");
    (void)snprintf(prefix, sizeof prefix, "PREFIX=%s", installed);
    (void)snprintf(build, sizeof build, "BUILD=%s", build_root());
    proc_start(&proc, &params);
    CHECK(proc_wait(&proc, STEP_MS) && proc_exit_code(&proc) == 0, "make install: %s",
          file_read(log));
}

static void link_program(const char *name, const char *to)
{
    char path[PATH_SIZE];

    path_join(path, programs, name);
    assert_int_equal(symlink(to, path), 0);
}

static int set_up(void **state)
{
    static const char hba[] = "local all all trust\n"
                              "host all postgres all trust\n"
                              "host all all all scram-sha-256\n";
    char outboxd[PATH_SIZE];
#ifdef __SANITIZE_ADDRESS__
    char cc[PATH_SIZE];
#endif

    (void)state;
    pg_create(&server, &(struct pg_params){.hba = hba, .fsync = true});
    kafka_create(&kafka, NULL);
    install();
    tmp_folder("bin", programs);
    path_join(outboxd, installed, "bin/outboxd");
    link_program("outboxd", outboxd);
    if (access(PYTHON, X_OK) == 0)
        link_program("python3", PYTHON);
#ifdef __SANITIZE_ADDRESS__ /* and the library that the page compiles with */
    path_join(cc, programs, "cc");
    file_write(cc, "#!/bin/sh\nexec gcc -fsanitize=address,undefined \"$@\"\n");
    assert_int_equal(chmod(cc, 0755), 0);
#endif
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    kafka_drop(&kafka);
    pg_drop(&server);
    return 0;
}

/* The environment of somebody whose servers are elsewhere than the page's. */
struct values {
    const char *env[MAX_VALUES];
    size_t count;
};

static void add_value(struct values *v, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void add_value(struct values *v, const char *fmt, ...)
{
    struct str text = {0};
    va_list ap;

    assert_true(v->count < MAX_VALUES - 1);
    va_start(ap, fmt);
    str_vprintf(&text, fmt, ap);
    va_end(ap);
    v->env[v->count++] = text.data;
}

static void release_values(struct values *v)
{
    for (size_t i = 0; i < v->count; i++)
        free((void *)(uintptr_t)v->env[i]);
}

/* host_of_urls: whatever host a URL names is the server's. */
static void open_shell(struct shell *s, const char *home, bool host_of_urls)
{
    struct values v = {0};

    add_value(&v, "PATH=%s:%s", programs, getenv("PATH"));
    add_value(&v, "HOME=%s", home);
    add_value(&v, "SOURCES=%s", source_root());
    if (host_of_urls)
        add_value(&v, "PGHOSTADDR=127.0.0.1");
    else
        add_value(&v, "PGHOST=127.0.0.1");
    add_value(&v, "PGPORT=%d", server.port);
    add_value(&v, "PGUSER=postgres");
    add_value(&v, "PGDATABASE");
    add_value(&v, "PGOPTIONS");
    add_value(&v, "PGPASSWORD");
    add_value(&v, "KAFKA=%s", kafka_brokers(&kafka));
    add_value(&v, "HTTP_PORT=%d", port_free());
    add_value(&v, "TUTORIAL");
    add_value(&v, "GROUP");
    add_value(&v, "LC_ALL=C.UTF-8");
    add_value(&v, "PKG_CONFIG_PATH=%s/lib/pkgconfig", installed);
    add_value(&v, "LD_LIBRARY_PATH=%s/lib", installed);
    shell_open(s, v.env, home);
    release_values(&v);
}

/* ---- a page ---- */

static void save(struct shell *s, const struct document *d, const struct block *b)
{
    struct str text = {0};

    CHECK(strchr(b->file, '/') == NULL, "%s:%d: a file in another folder", d->name, b->line);
    str_printf(&text, "cat > '%s' <<'END OF FILE'\n%sEND OF FILE\n", b->file, b->text);
    assert_int_equal(shell_type(s, text.data, STEP_MS), 0);
    str_release(&text);
}

static void run(struct shell *s, const struct document *d, const struct block *b, const char *shown)
{
    const uint64_t end_ms = test_now_ms() + AGAIN_MS;
    int code = shell_type(s, b->text, STEP_MS);

    while (b->again && test_now_ms() < end_ms &&
           !(code == b->exit_code && output_matches(shown, s->printed))) {
        test_sleep_ms(200);
        code = shell_type(s, b->text, STEP_MS);
    }
    CHECK(code == b->exit_code && output_matches(shown, s->printed),
          "%s:%d: exit code %d, expected %d\n%s--- shown:\n%s--- printed:\n%s", d->name, b->line,
          code, b->exit_code, b->text, shown, s->printed);
}

static void test_tutorial(void **state)
{
    struct document d;
    struct shell s;
    char home[PATH_SIZE];
    int ran = 0;

    (void)state;
    document_read(&d, TUTORIAL);
    tmp_folder("home", home);
    open_shell(&s, home, false);
    for (size_t i = 0; i < d.count; i++) {
        const struct block *b = &d.blocks[i];
        const struct block *next = i + 1 < d.count ? b + 1 : NULL;
        const uint64_t start_ms = test_now_ms();

        CHECK(b->kind != BLOCK_PLAIN, "%s:%d: a block that nobody runs", d.name, b->line);
        if (b->kind == BLOCK_SAVE)
            save(&s, &d, b);
        if (b->kind != BLOCK_RUN)
            continue;
        run(&s, &d, b, next != NULL && next->kind == BLOCK_OUTPUT ? next->text : "");
        ran++;
        if (getenv("TIMES") != NULL)
            print_message("# line %d: %d ms\n", b->line, (int)(test_now_ms() - start_ms));
    }
    assert_true(ran >= 20);
    shell_close(&s);
    document_release(&d);
}

/* ---- the quick start of README.md ---- */

/* What stands there for the reader's own: the page's words, and what is put in their place. */
static struct {
    const char *from;
    const char *to;
    bool found;
} own[] = {
    {"kafka-1:9093,kafka-2:9093", NULL, false}, /* the brokers */
    {"?sslmode=verify-full", "", false},
    {"SASL_SSL", "PLAINTEXT", false},
    {"/run/secrets/orders-db", "orders-db", false},
    {"/run/secrets/kafka", "kafka", false},
    {"outboxd run   -c outboxd.yaml", "outboxd run -c outboxd.yaml 2> run.log &", false},
    {"'2026-01-31T12:00:00Z'", "now()", false}, /* old for an inbox one day */
};

static char *with_own(const char *text)
{
    char *now = xstrdup(text);

    for (size_t i = 0; i < ARRAY_LEN(own); i++) {
        const char *at = strstr(now, own[i].from);
        struct str changed = {0};

        if (at == NULL)
            continue;
        own[i].found = true;
        str_put(&changed, now, (size_t)(at - now));
        str_puts(&changed, own[i].to);
        str_puts(&changed, at + strlen(own[i].from));
        free(now);
        now = changed.data;
    }
    return now;
}

/* The block of the page that begins so. */
static const char *block_of(const struct document *d, const char *begin)
{
    for (size_t i = 0; i < d->count; i++)
        if (strncmp(d->blocks[i].text, begin, strlen(begin)) == 0)
            return d->blocks[i].text;
    fail_msg("%s has no block that begins with: %s", d->name, begin);
    return NULL;
}

/* Types a block between two texts; all must succeed. */
static const char *type_block(struct shell *s, const struct document *d, const char *begin,
                              const char *before, const char *after)
{
    char *block = with_own(block_of(d, begin));
    struct str text = {0};
    int code;

    str_printf(&text, "%s%s%s", before, block, after);
    code = shell_type(s, text.data, STEP_MS);
    CHECK(code == 0, "exit code %d\n%s%s", code, text.data, s->printed);
    str_release(&text);
    free(block);
    return s->printed;
}

/* What such a service has before it thinks of events. */
static const char readers_own[] =
    "psql -q postgres://postgres@db/postgres <<'SQL'\n"
    "CREATE DATABASE orders; CREATE DATABASE billing;\n"
    "CREATE ROLE order_service LOGIN PASSWORD 'own'; CREATE ROLE outboxd LOGIN PASSWORD 'own';\n"
    "CREATE ROLE billing_service LOGIN PASSWORD 'own';\n"
    "\\connect orders\n"
    "CREATE TABLE orders (id bigint, state text); INSERT INTO orders VALUES (4711, 'PLACED');\n"
    "GRANT SELECT, UPDATE ON orders TO order_service;\n"
    "\\connect billing\n"
    "CREATE TABLE payment (order_id bigint, amount bigint); GRANT INSERT ON payment TO "
    "billing_service;\n"
    "SQL\n"
    "printf own > orders-db; printf own > kafka\n";

static const char cleaned[] =
    "kill $!; wait $!\n"
    "psql -q postgres://postgres@db/postgres <<'SQL'\n"
    "DROP DATABASE orders WITH (FORCE); DROP DATABASE billing WITH (FORCE);\n"
    "DROP ROLE order_service, billing_service, outboxd;\n"
    "SQL\n";

static void test_quick_start(void **state)
{
    struct document d;
    struct shell s;
    char home[PATH_SIZE];

    (void)state;
    document_read(&d, "README.md");
    own[0].to = kafka_brokers(&kafka);
    kafka_create_topic(&kafka, "order-events", 6, NULL);
    tmp_folder("home", home);
    open_shell(&s, home, true);
    CHECK(shell_type(&s, readers_own, STEP_MS) == 0 && s.printed[0] == '\0', "%s", s.printed);

    (void)block_of(
        &d, "make deps && make && sudo make install\n"); /* done by set_up, and by make test */
    type_block(&s, &d, "postgres:\n", "cat > outboxd.yaml <<'YAML'\n",
               "http: {listen: \"\"}\nYAML\n");
    type_block(&s, &d, "outboxd migrate -c ", "", "");
    type_block(&s, &d, "BEGIN;\nUPDATE orders ",
               "psql -q -v ON_ERROR_STOP=1 postgres://order_service:own@db/orders <<'SQL'\n",
               "SQL\n");
    assert_contains(type_block(&s, &d, "outboxd check ", "", ""), "all is well");
    assert_int_equal(shell_type(&s,
                                "kcat -q -C -b $KAFKA -t order-events -o beginning -c 1 -f '%k %s'",
                                STEP_MS),
                     0);
    CHECK(strncmp(s.printed, "4711 {\"eventId\":", 16) == 0 &&
              strstr(s.printed, "\"payload\":{\"orderId\": 4711, \"amount\": 9900}}") != NULL,
          "%s", s.printed);

    type_block(&s, &d, "outboxd migrate --inbox ", "",
               "psql postgres://postgres@db/billing -qc 'GRANT inbox_consumer TO billing_service'");
    assert_contains(
        type_block(
            &s, &d, "BEGIN;\nSELECT inbox.claim",
            "psql -qAt -v ON_ERROR_STOP=1 postgres://billing_service:own@db/billing <<'SQL'\n",
            "SQL\npsql postgres://postgres@db/billing -Atc 'SELECT * FROM payment'\n"),
        "t\n4711|9900\n");
    for (size_t i = 0; i < ARRAY_LEN(own); i++)
        CHECK(own[i].found, "README.md no longer says %s: change the table `own`", own[i].from);
    CHECK(shell_type(&s, cleaned, STEP_MS) == 0, "%s", s.printed);
    shell_close(&s);
    kafka_delete_topic(&kafka, "order-events");
    document_release(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quick_start),
        cmocka_unit_test(test_tutorial),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
