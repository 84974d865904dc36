/* What pages say in passing: each command of outboxd that one of them names is understood by the
 * command line, and each statement of the runbook by a database. And that
 * the comparison of test_tutorial can tell. */
#include "../support/check.h"
#include "../support/document.h"
#include "../support/pg.h"

#include "app/cli.h"
#include "base/str.h"

#include <stdlib.h>

/* ---- statements of the runbook ---- */

static bool is_statement(const char *text)
{
    static const char *const verbs[] = {"SELECT ", "UPDATE ", "ALTER ", "GRANT ",
                                        "CREATE ", "DROP ",   "CALL ",  "DELETE "};

    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        if (strncmp(text, verbs[i], strlen(verbs[i])) == 0)
            return true;
    return false;
}

/* What a reader puts in, and what is put in here. */
static char *with_values(const char *code)
{
    static const char *const values[][2] = {
        {"ROW_ID", "1"}, {"the_role", "svc"}, {"PID", "0"}, {"'...'", "'orders'"}, {"...", "'{}'"}};
    char *now = xstrdup(code);

    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        const char *at = strstr(now, values[i][0]);
        struct str changed = {0};

        if (at == NULL)
            continue;
        str_put(&changed, now, (size_t)(at - now));
        str_puts(&changed, values[i][1]);
        str_puts(&changed, at + strlen(values[i][0]));
        free(now);
        now = changed.data;
    }
    return now;
}

static int statements;

static void run_statement(void *conn, const char *code)
{
    char *statement = with_values(code);

    if (is_statement(statement)) {
        pg_exec(conn, "BEGIN");
        pg_exec(conn, "%s", statement);
        pg_exec(conn, "ROLLBACK");
        statements++;
    }
    free(statement);
}

static void test_runbook(void **state)
{
    struct pg_server server;
    PGconn *conn;

    (void)state;
    pg_create(&server, NULL);
    pg_apply_schema(&server);
    conn = pg_open(&server, NULL);
    document_each_code("deploy/docs/runbook.md", run_statement, conn);
    assert_true(statements >= 6);
    PQfinish(conn);
    pg_drop(&server);
}

/* ---- commands that pages name ---- */

#define MAX_WORDS 16

/* The command line understands it. An option that is named without its value may take one. */
static bool is_understood(char **words, int count, struct err *err)
{
    struct cli c;

    words[count] =
        (char *)(uintptr_t) "--help"; /* only then may what the command needs be missing */
    if (cli_parse(&c, count + 1, words, err) == 0)
        return true;
    words[count] = (char *)(uintptr_t) "1";
    return words[count - 1][0] == '-' && cli_parse(&c, count + 1, words, err) == 0;
}

static int commands;

static void check_command(void *page, const char *code)
{
    char *line = xstrdup(code);
    char *words[MAX_WORDS + 1];
    struct err err = {0};
    int count = 0;
    char *rest = NULL;

    if (strncmp(code, "outboxd ", 8) != 0) {
        free(line);
        return;
    }
    for (char *word = strtok_r(line, " ", &rest); word != NULL && count < MAX_WORDS;
         word = strtok_r(NULL, " ", &rest)) {
        if (strchr("#>&|\\", *word) != NULL || strncmp(word, "2>", 2) == 0 ||
            strcmp(word, "->") == 0)
            break;
        if (*word == '"') { /* one word, of several */
            while (word != NULL && word[strlen(word) - 1] != '"')
                word = strtok_r(NULL, " ", &rest);
            word = (char *)(uintptr_t) "1";
        }
        if (strcspn(word, "abcdefghijklmnopqrstuvwxyz.-") == strlen(word))
            word = (char *)(uintptr_t) "1"; /* NEXT_ROW_ID */
        words[count++] = word;
    }
    CHECK(count > 1 && is_understood(words, count, &err), "%s: %s\n%s", (const char *)page, code,
          err.text);
    commands++;
    free(line);
}

static void test_commands(void **state)
{
    static const char *const pages[] = {"README.md",
                                        "deploy/README.md",
                                        "deploy/docs/tutorial.md",
                                        "deploy/docs/runbook.md",
                                        "deploy/docs/settings.md",
                                        "deploy/docs/exit-codes.md",
                                        "sql/README.md",
                                        "sql/inbox/README.md",
                                        "tests/README.md"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(pages); i++)
        document_each_code(pages[i], check_command, (void *)(uintptr_t)pages[i]);
    assert_true(commands > 100);
}

/* ---- what compares can tell ---- */

static void test_comparison(void **state)
{
    static const struct {
        const char *shown;
        const char *printed;
        bool same;
    } cases[] = {
        {"", "", true},
        {"", "x\n", false},
        {"x\n", "", false},
        {"a\nb\n", "a\nb\n", true},
        {"a\nb\n", "a\nb\nc\n", false},
        {"a\nb\n", "a\n", false},
        {"lost 0\n", "lost 1\n", false},
        {"lost 0\n", "lost 00\n", false},
        {"a\n...\nz\n", "a\nz\n", true},
        {"a\n...\nz\n", "a\nb\nc\nz\n", true},
        {"a\n...\nz\n", "a\nb\nc\n", false},
        {"...\n", "", true},
        {"a ... z\n", "a b c z\n", true},
        {"a ... z\n", "a b c\n", false},
        {"a ...\n", "a b c\n", true},
        {"b...\n", "a b\n", false},
        {"id 01a207b9-8272-77f8-b447-593353dcc64b!\n", "id 11a207b9-8272-77f8-b447-593353dcc64c!\n",
         true},
        {"id 01a207b9-8272-77f8-b447-593353dcc64b\n", "id 01a207b9\n", false},
        {"at 2026-11-23T09:25:27.795641Z\n", "at 2001-01-01T00:00:00Z\n", true},
        {"at 2026-11-23T09:25:27.795641Z\n", "at never\n", false},
        {"stored 360 ms ago\n", "stored 4 min 9 s ago\n", true},
        {" t\n a b\n", " t   \n a b\n", true},
        {" a b\n", " a  b\n", false},
        {"360 events\n", "361 events\n", false},
        {"base 762:762:; x\n", "base 48812:48815:48812,48813; x\n", true},
        {"x\n", "x\n./3.sh: line 7: 4711 Killed                  outboxd run\n", true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        CHECK(output_matches(cases[i].shown, cases[i].printed) == cases[i].same,
              "shown:\n%sprinted:\n%s", cases[i].shown, cases[i].printed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_comparison),
        cmocka_unit_test(test_commands),
        cmocka_unit_test(test_runbook),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
