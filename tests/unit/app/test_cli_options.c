/* The options as manuals and completions read them, and one name that means two things. */
#include "../../support/check.h"

#include "app/cli.h"

struct seen {
    struct str names; /* "--config=FILE --help " */
    size_t count;
};

static void see(void *ctx, const struct cli_option *o)
{
    struct seen *s = ctx;

    assert_true(o->help != NULL && o->help[0] != '\0');
    str_printf(&s->names, "--%s%s%s ", o->name, o->value == NULL ? "" : "=",
               o->value == NULL ? "" : o->value);
    s->count++;
}

static void test_each_option(void **state)
{
    (void)state;
    for (unsigned c = 0; c <= COMMAND_COUNT; c++) {
        struct seen seen = {0};
        struct str usage = {0};
        char *rest = NULL;

        cli_each_option((enum command)c, see, &seen);
        cli_usage((enum command)c, &usage);
        assert_contains(seen.names.data, "--help ");
        if (c == COMMAND_TOP)
            assert_string_equal(seen.names.data, "--config=FILE --url=URL --once --help ");
        /* --help shows every one of them */
        for (char *name = strtok_r(seen.names.data, " =", &rest); name != NULL;
             name = strtok_r(NULL, " =", &rest))
            assert_contains(usage.data, name);
        str_release(&seen.names);
        str_release(&usage);
    }
}

static void test_commands_have_summaries(void **state)
{
    (void)state;
    for (unsigned c = 0; c <= COMMAND_COUNT; c++)
        assert_true(command_summary((enum command)c)[0] != '\0');
}

/* --url is a database to migrate and an address of HTTP to top. */
static void test_one_name_twice(void **state)
{
    static const char *const commands[] = {"migrate", "rebase", "top", "pause"};
    struct cli c;
    struct err err;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        char name[16];
        char url[] = "--url=x";
        char to[] = "--to=now";
        char program[] = "outboxd";
        char *argv[] = {program, name, url, to, NULL};
        int argc = strcmp(commands[i], "rebase") == 0 ? 4 : 3;

        memcpy(name, commands[i], strlen(commands[i]) + 1);
        assert_ok(cli_parse(&c, argc, argv, &err), &err);
        assert_string_equal(c.url, "x");
    }
}

static void test_url_elsewhere(void **state)
{
    char program[] = "outboxd";
    char command[] = "status";
    char url[] = "--url=x";
    char *argv[] = {program, command, url, NULL};
    struct cli c;
    struct err err;

    (void)state;
    assert_int_equal(cli_parse(&c, 3, argv, &err), -1);
    assert_int_equal(err.kind, ERR_USAGE);
    assert_contains(err.text, "outboxd status takes no --url");
}

static void test_exit_codes_in_help(void **state)
{
    struct str usage = {0};

    (void)state;
    cli_usage(COMMAND_COUNT, &usage);
#define X(name, code, short_text, meaning) assert_contains(usage.data, short_text);
    ERR_KINDS(X)
#undef X
    str_release(&usage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_option),        cmocka_unit_test(test_commands_have_summaries),
        cmocka_unit_test(test_one_name_twice),     cmocka_unit_test(test_url_elsewhere),
        cmocka_unit_test(test_exit_codes_in_help),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
