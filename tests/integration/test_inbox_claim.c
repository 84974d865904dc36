/* inbox_claim and inbox_publish on a connection of the application, and what a program sees of the
 * library: its symbols, its header in C99 and C++. */
#include "inbox_case.h"

#include <unistd.h>

static PGconn *conn; /* the consumer's */
static struct inbox_error e;

static int open_database(void **state)
{
    (void)state;
    start_database();
    pg_exec(db, "CREATE ROLE stranger LOGIN");
    pg_exec(db, "CREATE DATABASE bare");
    conn = pg_open(&pg, "consumer");
    return 0;
}

static int close_database(void **state)
{
    (void)state;
    PQfinish(conn);
    PQfinish(db);
    pg_drop(&pg);
    return 0;
}

/* ---- the claim ------------------------------------------------------------------------------- */

static void expect(int got, int wanted)
{
    CHECK(got == wanted, "%d, %s: %s", got, inbox_code_name(e.code), e.text);
}

static void expect_error(int got, enum inbox_code code, const char *part)
{
    assert_int_equal(got, -1);
    CHECK(e.code == code, "%s instead of %s: %s", inbox_code_name(e.code), inbox_code_name(code),
          e.text);
    assert_contains(e.text, part);
}

static void first_and_second_time(void **state)
{
    (void)state;
    pg_exec(conn, "BEGIN");
    expect(inbox_claim(conn, "a", id_of(1), NULL, 0, &e), 1);
    expect(inbox_claim(conn, "a", id_of(1), NULL, 0, &e), 0);
    expect(inbox_claim(conn, "b", id_of(1), NULL, 0, NULL), 1);
    pg_exec(conn, "ROLLBACK");
    pg_exec(conn, "BEGIN");
    expect(inbox_claim(conn, "a", id_of(1), "2026-01-01T00:00:00Z", INBOX_ACCEPT_OLD, &e), 1);
    pg_exec(conn, "COMMIT");
    pg_exec(conn, "BEGIN");
    expect(inbox_claim(conn, "a", id_of(1), NULL, 0, &e), 0);
    assert_int_equal(e.code, INBOX_E_NONE);
    pg_exec(conn, "COMMIT");
}

static void text_ids(void **state)
{
    char id[INBOX_UUID_SIZE];

    (void)state;
    pg_exec(conn, "SET DateStyle = 'SQL, DMY'; BEGIN");
    expect(inbox_claim(conn, "texts", "order-4711", "2999-01-31T12:00:00.5+01:00", 0, &e), 1);
    expect(inbox_claim(conn, "texts", "order-4711", NULL, 0, &e), 0);
    pg_exec(conn, "COMMIT");
    assert_int_equal(inbox_uuid(NULL, "order-4711", id), 0);
    assert_string_equal(
        pg_scalar(db, "SELECT event_id FROM inbox.claimed WHERE consumer = 'texts'"), id);
    /* Postgres makes the same of it, so that SQL and C agree. */
    pg_exec(db, "CREATE EXTENSION IF NOT EXISTS \"uuid-ossp\"");
    assert_string_equal(pg_scalar(db, "SELECT uuid_generate_v5('e3959e19-df73-5c4a-a21c-"
                                      "0b8c9636a8ad', 'order-4711')"),
                        id);
    assert_int_equal(inbox_uuid("/orders", "4711", id), 0);
    assert_string_equal(pg_scalar(db, "SELECT uuid_generate_v5('e3959e19-df73-5c4a-a21c-"
                                      "0b8c9636a8ad', E'/orders\\n4711')"),
                        id);
}

static void bad_arguments(void **state)
{
    char name[INBOX_CONSUMER_MAX + 2];

    (void)state;
    memset(name, 'x', sizeof name);
    name[sizeof name - 1] = '\0';
    pg_exec(conn, "BEGIN");
    expect_error(inbox_claim(NULL, "a", id_of(1), NULL, 0, &e), INBOX_E_ARGUMENT, "conn");
    expect_error(inbox_claim(conn, NULL, id_of(1), NULL, 0, &e), INBOX_E_ARGUMENT, "name");
    expect_error(inbox_claim(conn, "", id_of(1), NULL, 0, &e), INBOX_E_ARGUMENT, "name");
    expect_error(inbox_claim(conn, name, id_of(1), NULL, 0, &e), INBOX_E_ARGUMENT, "201 bytes");
    expect_error(inbox_claim(conn, "a", NULL, NULL, 0, &e), INBOX_E_EVENT_ID, "id");
    expect_error(inbox_claim(conn, "a", "", NULL, 0, &e), INBOX_E_EVENT_ID, "id");
    expect_error(inbox_claim(conn, "a", id_of(1), "today", 0, &e), INBOX_E_ARGUMENT, "RFC 3339");
    expect_error(inbox_claim(conn, "a", id_of(1), NULL, 6, &e), INBOX_E_ARGUMENT, "flags");
    assert_int_equal(inbox_claim(conn, "a", "", NULL, 0, NULL), -1);
    /* None of them has cost the transaction. */
    name[INBOX_CONSUMER_MAX] = '\0';
    expect(inbox_claim(conn, name, "an id", NULL, 0, &e), 1);
    pg_exec(conn, "COMMIT");
}

static void wrong_moments(void **state)
{
    (void)state;
    expect_error(inbox_claim(conn, "a", "x", NULL, 0, &e), INBOX_E_NO_TRANSACTION, "begin");
    assert_int_equal(pg_int(db,
                            "SELECT count(*) FROM inbox.claimed WHERE consumer = 'a' AND "
                            "event_id <> '%s'",
                            id_of(1)),
                     0);
    pg_exec(conn, "BEGIN");
    PQclear(PQexec(conn, "SELECT 1 / 0"));
    expect_error(inbox_claim(conn, "a", "x", NULL, 0, &e), INBOX_E_ABORTED, "roll back");
    pg_exec(conn, "ROLLBACK");
    assert_int_equal(PQsendQuery(conn, "SELECT 1"), 1);
    expect_error(inbox_claim(conn, "a", "x", NULL, 0, &e), INBOX_E_CONNECTION, "busy");
    for (PGresult *r; (r = PQgetResult(conn)) != NULL;)
        PQclear(r);
}

static void too_old(void **state)
{
    (void)state;
    pg_exec(conn, "BEGIN");
    expect_error(inbox_claim(conn, "a", "old", "2020-01-01T00:00:00Z", 0, &e), INBOX_E_TOO_OLD,
                 "IB003");
    pg_exec(conn, "ROLLBACK; BEGIN");
    expect(inbox_claim(conn, "a", "old", "2020-01-01T00:00:00Z", INBOX_ACCEPT_OLD, &e), 1);
    pg_exec(conn, "ROLLBACK");
}

static void missing_schema_and_grants(void **state)
{
    struct pg_url url = pg_url(&pg, "postgres", "bare");
    PGconn *other = PQconnectdb(url.text);

    (void)state;
    pg_exec(other, "BEGIN");
    expect_error(inbox_claim(other, "a", "x", NULL, 0, &e), INBOX_E_SCHEMA, "migrate --inbox");
    PQfinish(other);
    other = pg_open(&pg, "stranger");
    pg_exec(other, "BEGIN");
    expect_error(inbox_claim(other, "a", "x", NULL, 0, &e), INBOX_E_GRANTS, "GRANT inbox_consumer");
    pg_exec(other, "ROLLBACK; BEGIN");
    pg_exec(db, "SELECT pg_terminate_backend(%d)", PQbackendPID(other));
    expect_error(inbox_claim(other, "a", "x", NULL, 0, &e), INBOX_E_CONNECTION, "");
    expect_error(inbox_claim(other, "a", "x", NULL, 0, &e), INBOX_E_CONNECTION, "not usable");
    PQfinish(other);
}

static void conflict_is_told(void **state)
{
    PGconn *other = pg_open(&pg, "consumer");

    (void)state;
    pg_exec(other, "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT 1");
    pg_exec(conn, "BEGIN");
    expect(inbox_claim(conn, "conflict", "x", NULL, 0, &e), 1);
    pg_exec(conn, "COMMIT");
    expect_error(inbox_claim(other, "conflict", "x", NULL, 0, &e), INBOX_E_CONFLICT, "40001");
    PQfinish(other);
}

#ifdef __SANITIZE_ADDRESS__
#define SANITIZED "-fsanitize=address,undefined" /* as the library is */
#else
#define SANITIZED ""
#endif

/* ---- what a program sees --------------------------------------------------------------------- */

static void run_ok(const char *fmt, ...) PRINTF_LIKE(1, 2);

static void run_ok(const char *fmt, ...)
{
    char command[4096];
    char log[PATH_SIZE];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(command, sizeof command, fmt, ap);
    va_end(ap);
    path_join(log, tmp_root(), "command.log");
    if (proc_run((const char *const[]){"sh", "-c", command, NULL}, log, 60000) != 0)
        fail_msg("%s: %s", command, file_read(log));
}

static void only_inbox_is_exported(void **state)
{
    (void)state;
    run_ok("cd %s/inbox && for f in 'nm -D libinbox.so.0' 'nm -g libinbox.a'; do "
           "names=$($f --defined-only | awk 'NF == 3 {print $3}') || exit 1; "
           "echo \"$names\" | grep -q '^inbox_run$' || exit 1; "
           "if echo \"$names\" | grep -v '^inbox_'; then exit 1; fi; done",
           build_root());
    run_ok("readelf -d %s/inbox/libinbox.so.0 | grep -q 'SONAME.*\\[libinbox.so.0\\]'",
           build_root());
}

/* Every function that the header declares is there, and no other. */
static void header_and_symbols_agree(void **state)
{
    (void)state;
    run_ok("cd %s && nm -D --defined-only inbox/libinbox.so.0 | awk '{print $3}' | sort > %s/so && "
           "grep -oE '\\binbox_[a-z_]+\\(' %s/include/inbox.h | tr -d '(' | grep -v '_fn$' | sort "
           "-u > %s/h && "
           "diff %s/so %s/h",
           build_root(), tmp_root(), source_root(), tmp_root(), tmp_root(), tmp_root());
}

static void header_serves_others(void **state)
{
    static const char *const compilers[][3] = {
        {"gcc -std=c99 -pedantic -Wall -Wextra -Wconversion -Werror", "c", "NULL"},
        {"g++ -std=c++11 -pedantic -Wall -Wextra -Wconversion -Werror", "cpp", "nullptr"},
    };
    char source[PATH_SIZE];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(compilers); i++) {
        path_join(source, tmp_root(), i == 0 ? "use.c" : "use.cpp");
        file_write(source,
                   "#include <inbox.h>\n#include <string.h>\n"
                   "static enum inbox_verdict handle(PGconn *c, struct inbox_event *e, void *a)\n"
                   "{\n    (void)c;\n    (void)a;\n    inbox_explain(e, \"%%d\", 1);\n"
                   "    return INBOX_REJECT;\n}\n"
                   "int main(void)\n{\n    struct inbox_params p;\n    struct inbox_error e;\n"
                   "    memset(&p, 0, sizeof p);\n    p.size = sizeof p;\n"
                   "    p.handler = handle;\n"
                   "    return inbox_new(&p, &e) == %s && e.code == INBOX_E_ARGUMENT ? 0 : 1;\n}\n",
                   compilers[i][2]);
        run_ok("%s " SANITIZED
               " -I%s/include $(pkg-config --cflags libpq | sed 's/-I/-isystem /g') %s -o %s/use "
               "-L%s/inbox -linbox -Wl,-rpath,%s/inbox $(pkg-config --libs libpq) && %s/use",
               compilers[i][0], source_root(), source, tmp_root(), build_root(), build_root(),
               tmp_root());
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_and_second_time),
        cmocka_unit_test(text_ids),
        cmocka_unit_test(bad_arguments),
        cmocka_unit_test(wrong_moments),
        cmocka_unit_test(too_old),
        cmocka_unit_test(missing_schema_and_grants),
        cmocka_unit_test(conflict_is_told),
        cmocka_unit_test(only_inbox_is_exported),
        cmocka_unit_test(header_and_symbols_agree),
        cmocka_unit_test(header_serves_others),
    };

    cmocka_set_test_filter(getenv("ONLY"));
    return cmocka_run_group_tests(tests, open_database, close_database);
}
