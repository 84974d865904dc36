/* The command line: good lines into the struct, bad ones into a text that names the way out. */
#include "app/cli.h"

#include "settings/nearest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define WORDS_MAX 20

/* Splits at blanks; "''" stands for an empty word. The words live in a static buffer until the next
 * call. */
static int parse(struct cli *c, const char *line, struct err *err)
{
    static char buffer[512];
    static char program[] = "outboxd";
    static char empty[] = "";
    char *argv[WORDS_MAX + 2] = {program};
    char *rest = NULL;
    int argc = 1;

    (void)snprintf(buffer, sizeof buffer, "%s", line);
    for (char *w = strtok_r(buffer, " ", &rest); w != NULL && argc <= WORDS_MAX;
         w = strtok_r(NULL, " ", &rest))
        argv[argc++] = strcmp(w, "''") == 0 ? empty : w;
    return cli_parse(c, argc, argv, err);
}

static struct cli good(const char *line)
{
    struct cli c;
    struct err err = {0};

    if (parse(&c, line, &err) != 0)
        fail_msg("%s: %s", line, err.text);
    return c;
}

static void test_commands(void **state)
{
    static const char *const words[] = {"run",    "check",  "migrate", "status", "top",
                                        "health", "pause",  "resume",  "parked", "verify",
                                        "replay", "config", "rebase",  "version"};

    (void)state;
    _Static_assert(ARRAY_LEN(words) == COMMAND_COUNT, "name the new command here");
    for (unsigned i = 0; i < COMMAND_COUNT; i++) {
        struct cli c;
        char line[64];

        assert_string_equal(command_name((enum command)i), words[i]);
        (void)snprintf(line, sizeof line, "%s%s", words[i],
                       i == COMMAND_REBASE   ? " --to now"
                       : i == COMMAND_PARKED ? " list"
                                             : "");
        c = good(line);
        assert_int_equal(c.command, i);
        assert_false(c.help);
        assert_string_equal(c.config, "/etc/outboxd/outboxd.yaml");
        assert_false(c.config_given);
        assert_int_equal(c.down, -1);
        assert_int_equal(c.bells, 0);
        assert_int_equal(c.timeout_ms, 30000);
        assert_null(c.url);
        assert_null(c.start);
    }
}

static void test_verify_and_replay(void **state)
{
    struct cli c =
        good("verify --since 2h --until 2026-01-31 --topic a --topic b --limit 3 --shared");

    (void)state;
    assert_string_equal(c.from, "2h");
    assert_string_equal(c.until, "2026-01-31");
    assert_int_equal(c.topics.count, 2);
    assert_string_equal(c.topics.text[1], "b");
    assert_int_equal(c.limit, 3);
    assert_true(c.shared);
    assert_null(c.topic);
    c = good("replay --id 5-9 --from 1h --type t --key k --aggregate-type g --topic a --rate 0 "
             "--after 123456789012345678");
    assert_string_equal(c.id, "5-9");
    assert_string_equal(c.from, "1h");
    assert_string_equal(c.event_type, "t");
    assert_string_equal(c.key, "k");
    assert_string_equal(c.aggregate_type, "g");
    assert_string_equal(c.topic, "a");
    assert_int_equal(c.topics.count, 0);
    assert_int_equal(c.rate, 0);
    assert_true(c.after == INT64_C(123456789012345678));
    c = good("replay");
    assert_int_equal(c.rate, 1000);
    assert_int_equal(c.after, 0);
    assert_int_equal(good("verify").limit, 20);
}

static void test_config_file(void **state)
{
    static const char *const lines[] = {
        "run -c a.yaml", "-c a.yaml run",       "run --config a.yaml",    "run --config=a.yaml",
        "run -ca.yaml",  "--config=a.yaml run", "run -c b.yaml -c a.yaml"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        assert_string_equal(good(lines[i]).config, "a.yaml");
        assert_true(good(lines[i]).config_given);
    }
}

static void test_options(void **state)
{
    struct cli c = good("migrate --url postgres://h/d --bells 4 --start now --timeout 2m --yes");

    (void)state;
    assert_string_equal(c.url, "postgres://h/d");
    assert_int_equal(c.bells, 4);
    assert_string_equal(c.start, "now");
    assert_int_equal(c.timeout_ms, 120000);
    assert_true(c.yes);
    assert_false(c.print);
    c = good("migrate --print --no-doorbell --start=beginning");
    assert_true(c.print);
    assert_true(c.no_doorbell);
    assert_string_equal(c.start, "beginning");
    assert_false(c.inbox);
    c = good("migrate --inbox --down 0 --yes --timeout 1s");
    assert_true(c.inbox && c.yes);
    c = good("migrate --down 0");
    assert_int_equal(c.down, 0);
    c = good("rebase --to=beginning --yes --dry-run --url x");
    assert_string_equal(c.to, "beginning");
    assert_true(c.yes);
    assert_true(c.dry_run);
    assert_string_equal(good("rebase --to 4711").to, "4711");
    assert_string_equal(good("rebase --to 2026-01-31T12:00:00.5+01:00").to,
                        "2026-01-31T12:00:00.5+01:00");
    c = good("rebase --keep --dry-run");
    assert_true(c.keep);
    assert_null(c.to);
    c = good("pause --url x --reason upgrade --dry-run");
    assert_string_equal(c.reason, "upgrade");
    assert_string_equal(c.url, "x");
    assert_true(c.dry_run);
    assert_null(good("pause").reason);
    assert_true(good("resume --dry-run").dry_run);
    c = good("parked skip 3 12 --reason poison --yes");
    assert_int_equal(c.words.count, 3);
    assert_string_equal(c.words.text[2], "12");
    assert_string_equal(c.reason, "poison");
    c = good("parked retry --topic t --error topic_missing --dry-run");
    assert_string_equal(c.of_topic, "t");
    assert_string_equal(c.error, "topic_missing");
    assert_null(c.topic);
    assert_true(good("parked --json list").json);
    assert_true(good("parked retry --all").all);
    assert_true(good("status --json").json);
    assert_true(good("config --example").example);
    assert_int_equal(good("--version").command, COMMAND_VERSION);
    assert_int_equal(good("-V").command, COMMAND_VERSION);
}

#define NOT_A_PLACE "--to takes beginning, now, an id or a time such as 2026-01-31T12:00:00Z, not "

static const struct {
    const char *line;
    const char *text;
} bad_lines[] = {
    {"", "which command? outboxd --help lists them"},
    {"-c a.yaml", "which command? outboxd --help lists them"},
    {"statsu", "unknown command \"statsu\"; did you mean \"status\"?"},
    {"migrat", "unknown command \"migrat\"; did you mean \"migrate\"?"},
    {"frobnicate", "unknown command \"frobnicate\"; outboxd --help lists them"},
    {"''", "unknown command \"\"; outboxd --help lists them"},
    {"run now", "unexpected \"now\" behind run; see outboxd run --help"},
    {"run -", "unexpected \"-\" behind run; see outboxd run --help"},
    {"run --", "unknown option --; see outboxd run --help"},
    {"parked", "parked does what: list, show, retry or skip?"},
    {"parked lst", "parked does list, show, retry or skip, not \"lst\"; did you mean list"},
    {"parked 3", "parked does list, show, retry or skip, not \"3\""},
    {"parked list 3", "parked list takes no lane; parked show does"},
    {"parked show", "parked show takes one lane's number"},
    {"parked show 1 2", "parked show takes one lane's number"},
    {"parked show x", "parked show takes numbers of lanes, not \"x\""},
    {"parked retry", "parked retry takes lanes' numbers, or --key, --topic and --error, or --all"},
    {"parked skip 3 --all",
     "parked skip takes lanes' numbers, or --key, --topic and --error, or --all"},
    {"parked skip --key k --all",
     "parked skip takes lanes' numbers, or --key, --topic and --error, or --all"},
    {"parked retry 3 --reason x", "--reason belongs to parked skip"},
    {"parked retry 3 --json", "--json belongs to parked list"},
    {"parked list --all",
     "--key, --topic, --error, --all, --yes and --dry-run belong to parked retry and skip"},
    {"run -x", "unknown option -x; see outboxd run --help"},
    {"run --confg=a", "unknown option --confg=a; did you mean --config?"},
    {"migrate --no-dorbell", "unknown option --no-dorbell; did you mean --no-doorbell?"},
    {"migrate --frobnicate", "unknown option --frobnicate; see outboxd migrate --help"},
    {"--frobnicate", "unknown option --frobnicate; see outboxd --help"},
    {"run --json", "outboxd run takes no --json; see outboxd run --help"},
    {"version -c x", "outboxd version takes no --config; see outboxd version --help"},
    {"--json status", "--json belongs behind its command, such as outboxd status --json"},
    {"status --json=1", "--json takes no value"},
    {"run -c", "--config needs a value: FILE"},
    {"run --config=", "--config is empty; give FILE"},
    {"run -c ''", "--config is empty; give FILE"},
    {"migrate --bells 0", "--bells takes a number from 1 to 4, not \"0\""},
    {"migrate --bells 5", "--bells takes a number from 1 to 4, not \"5\""},
    {"migrate --bells two", "--bells takes a number from 1 to 4, not \"two\""},
    {"migrate --bells 2x", "--bells takes a number from 1 to 4, not \"2x\""},
    {"migrate --down -1", "--down takes a number from 0 to 9999, not \"-1\""},
    {"migrate --down 99999999999999999999",
     "--down takes a number from 0 to 9999, not \"99999999999999999999\""},
    {"migrate --start end", "--start takes beginning or now, not \"end\""},
    {"migrate --timeout 5",
     "--timeout: 5 has no unit; write a whole number with one of the units ms, s, m, h, d, "
     "such as 10s"},
    {"migrate --timeout 2d", "--timeout: 2d is out of range; write a value from 1ms to 1d"},
    {"migrate --bells 1 --no-doorbell", "--bells and --no-doorbell exclude each other"},
    {"migrate --down 1 --bells 1",
     "--down goes back: it excludes --bells, --no-doorbell and --start"},
    {"migrate --print --url x", "--print connects to nothing: it excludes --url"},
    {"migrate --inbox --bells 1",
     "--inbox has no relay: it excludes --bells, --no-doorbell and --start"},
    {"migrate --inbox --start now",
     "--inbox has no relay: it excludes --bells, --no-doorbell and --start"},
    {"migrate --inbox=yes", "--inbox takes no value"},
    {"run --inbox", "outboxd run takes no --inbox; see outboxd run --help"},
    {"rebase", "rebase needs --to beginning, --to now, an id or a time, or --keep; see outboxd "
               "rebase --help"},
    {"rebase --to", "--to needs a value: beginning|now|ID|TIME"},
    {"rebase --to zero", NOT_A_PLACE "\"zero\""},
    {"rebase --to keep", NOT_A_PLACE "\"keep\""},
    {"rebase --to -1", NOT_A_PLACE "\"-1\""},
    {"rebase --to 99999999999999999999", NOT_A_PLACE "\"99999999999999999999\""},
    {"rebase --to 2026-02-30T12:00:00Z", NOT_A_PLACE "\"2026-02-30T12:00:00Z\""},
    {"rebase --to now --keep", "--to and --keep exclude each other"},
    {"rebase --keep=yes", "--keep takes no value"},
    {"replay --after 1234567890123456789", "--after takes the id of an event, not "
                                           "\"1234567890123456789\""},
    {"replay --after -1", "--after takes the id of an event, not \"-1\""},
    {"replay --since 2h", "outboxd replay takes no --since; see outboxd replay --help"},
    {"verify --from 2h", "outboxd verify takes no --from; see outboxd verify --help"},
    {"verify --topic ''", "--topic is empty; give TOPIC"},
    {"verify --limit 100001", "--limit takes a number from 0 to 100000, not \"100001\""},
    {"pause --reason ''", "--reason is empty; give TEXT"},
    {"pause --reason a\tb", "--reason takes one line of at most 200 characters"},
    {"pause --yes", "outboxd pause takes no --yes; see outboxd pause --help"},
    {"resume --reason x", "outboxd resume takes no --reason; see outboxd resume --help"},
};

static void test_bad_lines(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad_lines); i++) {
        struct cli c;
        struct err err = {0};

        if (parse(&c, bad_lines[i].line, &err) == 0)
            fail_msg("accepted: %s", bad_lines[i].line);
        assert_string_equal(err.text, bad_lines[i].text);
        assert_int_equal(err.kind, ERR_USAGE);
    }
}

static void test_help(void **state)
{
    static const struct {
        const char *line;
        enum command command;
    } cases[] = {{"--help", COMMAND_COUNT},         {"-h", COMMAND_COUNT},
                 {"help", COMMAND_COUNT},           {"help run", COMMAND_RUN},
                 {"rebase --help", COMMAND_REBASE}, {"--help status", COMMAND_STATUS},
                 {"-c x run -h", COMMAND_RUN}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct cli c = good(cases[i].line);

        assert_true(c.help);
        assert_int_equal(c.command, cases[i].command);
    }
}

/* The program's help names every command; a command's help names the options it takes and no
 * others. */
static void test_usage(void **state)
{
    struct str out = {0};

    (void)state;
    cli_usage(COMMAND_COUNT, &out);
    for (unsigned i = 0; i < COMMAND_COUNT; i++) {
        char line[64];

        (void)snprintf(line, sizeof line, "\n  %s ", command_name((enum command)i));
        assert_non_null(strstr(out.data, line));
    }
    assert_non_null(strstr(out.data, "-c, --config FILE"));
    assert_null(strstr(out.data, "--bells"));
    str_reset(&out);
    cli_usage(COMMAND_MIGRATE, &out);
    assert_non_null(strstr(out.data, "Usage: outboxd migrate [options]"));
    assert_non_null(strstr(out.data, "--bells N"));
    assert_non_null(strstr(out.data, "--no-doorbell"));
    assert_non_null(strstr(out.data, "-c, --config FILE"));
    assert_non_null(strstr(out.data, "-h, --help"));
    assert_null(strstr(out.data, "--json"));
    str_release(&out);
}

static void test_nearest(void **state)
{
    static const struct {
        const char *word;
        const char *best;
    } cases[] = {
        {"alpha", "alpha"},
        {"alhpa", "alpha"},
        {"alph", "alpha"},
        {"alphaa", "alpha"},
        {"olpha", "alpha"},
        {"xyz", NULL},
        {"betta", "beta"},
        {"", NULL},
        {"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJKLMNOPQRSTUVWXYZ", NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct nearest n = nearest_to(cases[i].word);

        nearest_try(&n, "alpha");
        nearest_try(&n, "beta");
        if (cases[i].best == NULL)
            assert_null(nearest_word(&n));
        else
            assert_string_equal(nearest_word(&n), cases[i].best);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commands),    cmocka_unit_test(test_verify_and_replay),
        cmocka_unit_test(test_config_file), cmocka_unit_test(test_options),
        cmocka_unit_test(test_bad_lines),   cmocka_unit_test(test_help),
        cmocka_unit_test(test_usage),       cmocka_unit_test(test_nearest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
