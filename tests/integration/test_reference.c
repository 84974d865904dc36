/* What is delivered beside the program, held against it: pages, manuals and completions are what
 * the generator writes; alerts and dashboard name metrics that there are; links lead somewhere. */
#include "../support/check.h"
#include "../support/proc.h"
#include "../support/pty.h"

#include "base/problem.h"
#include "ops/metrics.h"

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#define RULES     "deploy/prometheus/outboxd.rules.yml"
#define RULE_TEST "deploy/prometheus/outboxd.test.yml"
#define DASHBOARD "deploy/grafana/outboxd.json"
#define RUNBOOK   "deploy/docs/runbook.md"

static char folder[PATH_SIZE];

/* Runs it at the root of the sources; its output of both kinds, until the next call. */
static const char *run(int wanted, const char *fmt, ...) PRINTF_LIKE(2, 3);
static const char *run(int wanted, const char *fmt, ...)
{
    static char *said;
    char out[PATH_SIZE];
    struct str script = {0};
    va_list ap;
    int rc;

    str_printf(&script, "cd '%s' && ", source_root());
    va_start(ap, fmt);
    str_vprintf(&script, fmt, ap);
    va_end(ap);
    path_join(out, folder, "out");
    file_write(out, "%s", "");
    rc = proc_run((const char *const[]){"bash", "-c", script.data, NULL}, out, 60000);
    free(said);
    said = file_read(out);
    CHECK(rc == wanted, "exit code %d, not %d: %s\n%s", rc, wanted, script.data, said);
    str_release(&script);
    return said;
}

/* A file of the sources, until the next call. */
static const char *source(const char *name)
{
    static char *text;
    char path[PATH_SIZE];

    path_join(path, source_root(), name);
    free(text);
    text = file_read(path);
    return text;
}

static char *source_copy(const char *name)
{
    char *copy = strdup(source(name));

    assert_non_null(copy);
    return copy;
}

/* ---- written anew, they are the same
 * ----------------------------------------------------------------------------- */

static void test_generated(void **state)
{
    char generate[PATH_SIZE];
    char *list;
    char *rest = NULL;
    int pages = 0;

    (void)state;
    path_join(generate, build_root(), "deploy/docs/generate/main");
    list = strdup(run(0, "'%s' --list", generate));
    assert_non_null(list);
    for (char *page = strtok_r(list, "\n", &rest); page != NULL;
         page = strtok_r(NULL, "\n", &rest)) {
        char *fresh = strdup(run(0, "'%s' %s", generate, page));

        assert_non_null(fresh);
        CHECK(strcmp(fresh, source(page)) == 0, "%s is not what `make docs` writes", page);
        free(fresh);
        pages++;
    }
    assert_true(pages >= 9);
    free(list);
    run(64, "'%s' deploy/docs/other.md", generate);
}

/* ---- manuals
 * -------------------------------------------------------------------------------------------------
 */

static void test_manuals(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        const char *page = i == 0 ? "outboxd.8" : "outboxd.yaml.5";
        const char *warnings =
            run(0, "groff -man -ww -Tutf8 -rLL=78n deploy/man/%s 2>&1 >/dev/null", page);

        CHECK(warnings[0] == '\0', "%s", warnings);
    }
    assert_contains(run(0, "groff -man -Tascii -P-cbou deploy/man/outboxd.8"), "outboxd migrate");
    assert_contains(run(0, "groff -man -Tascii -P-cbou deploy/man/outboxd.yaml.5"),
                    "kafka.brokers (text)");
}

/* ---- links
 * -----------------------------------------------------------------------------------------------------
 */

/* GitHub's anchor of a heading that is one word is the word. */
static bool has_heading(const char *page, const char *word, size_t len)
{
    char heading[128];

    (void)snprintf(heading, sizeof heading, "\n### %.*s\n", (int)len, word);
    return strstr(page, heading) != NULL;
}

static void assert_links(const char *text, const char *prefix, const char *runbook)
{
    for (const char *at = strstr(text, prefix); at != NULL; at = strstr(at, prefix)) {
        size_t len;

        at += strlen(prefix);
        len = strspn(at, "abcdefghijklmnopqrstuvwxyz_");
        CHECK(len > 0 && has_heading(runbook, at, len), "no section %.*s in the runbook", (int)len,
              at);
    }
}

static void test_links(void **state)
{
    char *runbook = source_copy(RUNBOOK);
    char *rules = source_copy(RULES);

    (void)state;
    for (unsigned p = PROBLEM_NONE + 1; p < PROBLEM_COUNT; p++) {
        const char *word = problem_word((enum problem)p);

        CHECK(has_heading(runbook, word, strlen(word)), "no section %s", word);
    }
    assert_links(runbook, "](#", runbook);
    assert_links(source("deploy/docs/exit-codes.md"), "runbook.md#", runbook);
    for (char *at = strstr(rules, "#{{"); at != NULL; at = strstr(at, "#{{"))
        at[0] = ' '; /* {{ $labels.cause }}: words of problems, see test_every_trouble_alerts */
    assert_links(rules, "runbook.md#", runbook);
    free(rules);
    free(runbook);
}

/* ---- alerts
 * ----------------------------------------------------------------------------------------------------
 */

static void test_rules(void **state)
{
    (void)state;
    assert_contains(run(0, "promtool check rules %s", RULES), "SUCCESS");
    assert_contains(run(0, "promtool test rules %s", RULE_TEST), "SUCCESS");
}

static const char *must_hold(const char *text, const char *end, const char *part, const char *alert)
{
    const char *at = strstr(text, part);

    CHECK(at != NULL && at < end, "%s has no \"%s\"", alert, part);
    return at + strlen(part);
}

/* Each has what a person who is woken needs, and a test in which it fires. */
static void test_alerts_are_whole(void **state)
{
    static const char begin[] = "- alert: ";
    char *rules = source_copy(RULES);
    const char *tests = source(RULE_TEST);
    int count = 0;

    (void)state;
    for (char *at = strstr(rules, begin); at != NULL; count++) {
        char *next = strstr(at + 1, begin);
        const char *end = next == NULL ? at + strlen(at) : next;
        char name[64];
        char fires[96];

        (void)snprintf(name, sizeof name, "%.*s", (int)strcspn(at + sizeof begin - 1, "\n"),
                       at + sizeof begin - 1);
        (void)must_hold(at, end, "\n        for: ", name);
        (void)must_hold(at, end, "severity: ", name);
        (void)must_hold(at, end, "\n          summary: ", name);
        (void)must_hold(at, end, "\n          description: ", name);
        (void)must_hold(at, end, "\n          runbook_url: deploy/docs/runbook.md#", name);
        (void)snprintf(fires, sizeof fires, "alertname=\"%s\"", name);
        CHECK(strstr(tests, fires) != NULL, "no test sees %s fire", name);
        at = next;
    }
    assert_true(count >= 20);
    free(rules);
}

/* What makes a process not ready is in an alert by its word; no process says the others: they end
 * it, are told by metrics of their own, or concern commands alone. */
static void test_every_trouble_alerts(void **state)
{
    static const enum problem elsewhere[] = {PROBLEM_MESSAGE_TOO_LARGE,
                                             PROBLEM_MESSAGE_INVALID,
                                             PROBLEM_EVENT_INVALID,
                                             PROBLEM_EVENT_OVERSIZE, /* outboxd_halted */
                                             PROBLEM_NO_LEADER,      /* outboxd_leader */
                                             PROBLEM_PAUSED,         /* outboxd_paused */
                                             PROBLEM_TOPIC_UNREADABLE};
    const char *rules = source(RULES);

    (void)state;
    for (unsigned i = PROBLEM_NONE + 1; i < PROBLEM_COUNT; i++) {
        enum problem p = (enum problem)i;
        bool expected = problem_class(p) == PROBLEM_PASSES || problem_class(p) == PROBLEM_PERSON;
        char first[64];
        char later[64];

        for (size_t k = 0; k < ARRAY_LEN(elsewhere); k++)
            expected = expected && elsewhere[k] != p;
        (void)snprintf(first, sizeof first, "cause=~\"%s", problem_word(p));
        (void)snprintf(later, sizeof later, "|%s", problem_word(p));
        if (expected)
            CHECK(strstr(rules, first) != NULL || strstr(rules, later) != NULL,
                  "no alert for outboxd_trouble{cause=\"%s\"}", problem_word(p));
    }
}

/* ---- metrics
 * ---------------------------------------------------------------------------------------------------
 */

/* A histogram has its name in prose; in a query it has series of other names. */
static bool is_metric(const char *name, size_t len, bool query)
{
    static const char *const parts[] = {"", "_bucket", "_sum", "_count"};

    for (size_t i = 0; i < metrics_count(); i++) {
        struct metric m = metrics_at(i);
        size_t all = m.type == METRIC_HISTOGRAM ? ARRAY_LEN(parts) : 1;

        for (size_t k = query && m.type == METRIC_HISTOGRAM ? 1 : 0; k < all; k++) {
            char whole[128];

            (void)snprintf(whole, sizeof whole, "%s%s", m.name, parts[k]);
            if (strlen(whole) == len && strncmp(whole, name, len) == 0)
                return true;
        }
    }
    return false;
}

/* Every word that looks like a metric of ours is one. Returns how many there were. */
static int assert_metrics(const char *where, const char *text, bool query)
{
    int found = 0;

    for (const char *at = text; *at != '\0';) {
        size_t len = strspn(at, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");

        if (strncmp(at, "outboxd_", 8) == 0 || strncmp(at, "process_", 8) == 0) {
            CHECK(is_metric(at, len, query), "%s: there is no metric %.*s", where, (int)len, at);
            found++;
        }
        at += len > 0 ? len : 1;
    }
    return found;
}

/* Collects the queries of a dashboard, a line each: every "expr" and, for its variables,
 * "definition". */
static void collect_queries(const json_t *at, struct str *out)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)at, key, value)
    {
        if (json_is_string(value) && (strcmp(key, "expr") == 0 || strcmp(key, "definition") == 0))
            str_printf(out, "%s\n", json_string_value(value));
        collect_queries(value, out);
    }
    for (size_t i = 0; i < json_array_size(at); i++)
        collect_queries(json_array_get(at, i), out);
}

/* They are PromQL: promtool takes them as rules, once Grafana's variable for a time is one. */
static void assert_promql(const char *queries)
{
    static const char variable[] = "$__rate_interval";
    struct str rules = {0};
    char path[PATH_SIZE];

    str_puts(&rules, "groups:\n  - name: dashboard\n    rules:\n");
    for (const char *line = queries; *line != '\0';) {
        size_t len = strcspn(line, "\n");

        if (strncmp(line, "label_values(", 13) != 0) {
            str_puts(&rules, "      - {record: a, expr: '");
            for (size_t i = 0; i < len; i++) {
                bool is_variable = strncmp(line + i, variable, sizeof variable - 1) == 0;

                str_put(&rules, is_variable ? "5m" : line + i, is_variable ? 2 : 1);
                i += is_variable ? sizeof variable - 2 : 0;
            }
            str_puts(&rules, "'}\n");
        }
        line += len + 1;
    }
    path_join(path, folder, "dashboard.yml");
    file_write(path, "%s", rules.data);
    run(0, "promtool check rules --lint=none %s", path);
    str_release(&rules);
}

static void test_dashboard(void **state)
{
    json_error_t why;
    json_t *doc = json_loads(source(DASHBOARD), JSON_REJECT_DUPLICATES, &why);
    struct str queries = {0};

    (void)state;
    CHECK(doc != NULL, "line %d: %s", why.line, why.text);
    collect_queries(doc, &queries);
    assert_true(assert_metrics(DASHBOARD, str_text(&queries), true) > 40);
    assert_promql(str_text(&queries));
    for (size_t i = 0; i < metrics_count(); i++)
        CHECK(strstr(str_text(&queries), metrics_at(i).name) != NULL,
              "the dashboard does not show %s", metrics_at(i).name);
    json_decref(doc);
    str_release(&queries);
}

static void test_metrics_of_alerts(void **state)
{
    (void)state;
    assert_true(assert_metrics(RULES, source(RULES), true) > 30);
    assert_true(assert_metrics(RULE_TEST, source(RULE_TEST), true) > 60);
    assert_true(assert_metrics(RUNBOOK, source(RUNBOOK), false) > 10);
    assert_true(assert_metrics("metrics.md", source("deploy/docs/metrics.md"), false) > 30);
}

/* ---- completion
 * ------------------------------------------------------------------------------------------------
 */

/* Types a line with Tab in it, and sees what a program called outboxd would have been given. */
static void assert_completes(struct pty *p, const char *keys, const char *wanted)
{
    pty_forget(p);
    pty_type(p, keys);
    pty_type(p, "\n");
    pty_wait(p, wanted, 10000);
}

static void assert_all_complete(struct pty *p)
{
    pty_type(p, "outboxd() { printf '<%s>' \"$@\"; printf 'done\\n'; }\n");
    assert_completes(p, "outboxd mig\t", "<migrate>done");
    assert_completes(p, "outboxd migrate --no-d\t", "<migrate><--no-doorbell>done");
    assert_completes(p, "outboxd migrate --start be\t", "<migrate><--start><beginning>done");
    assert_completes(p, "outboxd rebase --to no\t", "<rebase><--to><now>done");
    assert_completes(p, "outboxd top --on\t", "<top><--once>done");
    assert_completes(p, "outboxd run -c conf\t", "<run><-c><config.yaml>done");
    assert_completes(p, "outboxd -c config.yaml sta\t", "<-c><config.yaml><status>done");
}

static void test_bash(void **state)
{
    struct pty p;
    char line[PATH_SIZE + 64];

    (void)state;
    pty_start(&p, (const char *const[]){"bash", "--norc", "--noprofile", "-i", NULL},
              (const char *const[]){"PS1=", "HISTFILE=", NULL}, 200, 24);
    (void)snprintf(line, sizeof line,
                   "cd '%s'; . '%s/deploy/completion/outboxd.bash'; echo s'et'\n", folder,
                   source_root());
    pty_type(&p, line);
    pty_wait(&p, "set", 10000);
    assert_all_complete(&p);
    assert_completes(&p, "outboxd rebase --to=begin\t", "<rebase><--to=beginning>done");
    pty_close(&p);
}

static void test_zsh(void **state)
{
    struct pty p;
    char line[PATH_SIZE + 128];

    (void)state;
    pty_start(&p, (const char *const[]){"zsh", "-f", "-i", NULL},
              (const char *const[]){"PS1=", NULL}, 200, 24);
    (void)snprintf(line, sizeof line,
                   "cd '%s'; fpath=('%s/deploy/completion' $fpath); autoload -U compinit; "
                   "compinit -D -u; echo s'et'\n",
                   folder, source_root());
    pty_type(&p, line);
    pty_wait(&p, "\nset", 20000);
    assert_all_complete(&p);
    pty_close(&p);
}

static void test_fish(void **state)
{
    const char *said;

    (void)state;
#define FISH                                                                                       \
    "HOME='%s' fish --no-config -c 'source deploy/completion/outboxd.fish; cd %s; complete -C \""
    said = run(0, FISH "outboxd \"'", folder, folder);
    assert_contains(said, "migrate\tapply");
    assert_contains(said, "top\twatch");
    said = run(0, FISH "outboxd migrate --\"'", folder, folder);
    assert_contains(said, "--no-doorbell\t");
    assert_lacks(said, "--once");
    assert_contains(run(0, FISH "outboxd rebase --to \"'", folder, folder), "beginning");
    assert_contains(run(0, FISH "outboxd run -c conf\"'", folder, folder), "config.yaml");
#undef FISH
}

static int set_up(void **state)
{
    char path[PATH_SIZE];

    (void)state;
    tmp_folder("reference", folder);
    path_join(path, folder, "config.yaml");
    file_write(path, "%s", "");
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_generated),
        cmocka_unit_test(test_manuals),
        cmocka_unit_test(test_links),
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_alerts_are_whole),
        cmocka_unit_test(test_every_trouble_alerts),
        cmocka_unit_test(test_dashboard),
        cmocka_unit_test(test_metrics_of_alerts),
        cmocka_unit_test(test_bash),
        cmocka_unit_test(test_zsh),
        cmocka_unit_test(test_fish),
    };

    return cmocka_run_group_tests(tests, set_up, NULL);
}
