/* The bench itself: a smoke of it gives a figure in every cell, floor and relay send the same
 * bytes, memory stays below its limit with every shape; and the pure path takes no more
 * instructions for an event than was agreed. */
#include "../support/check.h"

#include "../support/proc.h"
#include "../support/tmp.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT_KIB (64 * 1024)

/* Far from any true figure, and nothing that a busy machine could do. */
#define RATIO_LEAST 0.02
#define RATIO_MOST  20.0
#define CALLS_MOST  2.0 /* system calls for an event; a quick run of few events has 0.15 */

static double number(const json_t *cell, const char *name)
{
    return json_number_value(json_object_get(cell, name));
}

static void check_cell(const json_t *cell)
{
    const char *group = json_string_value(json_object_get(cell, "group"));
    const char *name = json_string_value(json_object_get(cell, "name"));

    if (strcmp(group, "drain") == 0) {
        double ratio = number(cell, "ratio");

        CHECK(ratio > RATIO_LEAST && ratio < RATIO_MOST, "%s: ratio %f", name, ratio);
        CHECK(number(cell, "peak_kib") > 1024 && number(cell, "peak_kib") < LIMIT_KIB,
              "%s: peak %.0f KiB", name, number(cell, "peak_kib"));
        CHECK(number(json_object_get(cell, "relay"), "own_us") > 0, "%s: no processor time", name);
    } else if (strcmp(group, "latency") == 0) {
        CHECK(number(json_object_get(cell, "relay"), "p50_ms") > 0, "%s: no latency", name);
        CHECK(number(json_object_get(cell, "bare"), "p50_ms") > 0, "%s: no bare produce", name);
    } else if (strcmp(group, "calls") == 0) {
        CHECK(number(cell, "per_event") > 0 && number(cell, "per_event") < CALLS_MOST,
              "%s: %f system calls an event", name, number(cell, "per_event"));
    } else if (strcmp(group, "rules") == 0) {
        CHECK(number(cell, "beside") > RATIO_LEAST, "%s: no ratio", name);
    } else {
        CHECK(number(cell, "kib") > 1024, "%s: no memory", name);
    }
}

static void test_every_cell_has_a_figure(void **state)
{
    char program[PATH_SIZE];
    char folder[PATH_SIZE];
    char path[PATH_SIZE];
    char log[PATH_SIZE];
    json_t *doc;
    json_t *cell;
    size_t i;
    static const char *const wanted[] = {"drain", "latency", "memory", "calls", "rules"};
    unsigned groups = 0;
    int code;

    (void)state;
    tmp_folder("bench", folder);
    path_join(path, folder, "bench.json");
    path_join(log, folder, "log");
    path_join(program, build_root(), "tests/bench/bench");
    (void)setenv("BENCH", "quick", 1);
    (void)setenv("BENCH_JSON", path, 1);
    (void)unsetenv("BENCH_CELLS");
    file_write(log, "%s", "");
    code = proc_run((const char *const[]){program, NULL}, log, 300000);
    CHECK(code == 0, "it ended with %d:\n%s", code, file_read(log));
    doc = json_load_file(path, 0, NULL);
    CHECK(doc != NULL, "%s is no JSON", path);
    json_array_foreach(json_object_get(doc, "cells"), i, cell)
    {
        const char *group = json_string_value(json_object_get(cell, "group"));

        check_cell(cell);
        for (size_t g = 0; g < ARRAY_LEN(wanted); g++)
            groups |= strcmp(group, wanted[g]) == 0 ? 1U << g : 0;
    }
    CHECK(groups == (1U << ARRAY_LEN(wanted)) - 1, "not every group has a cell: %x", groups);
    json_decref(doc);
}

/* What the README says of speed is what a run said. */
static void test_readme_has_the_figures(void **state)
{
    char program[PATH_SIZE];
    char figures[PATH_SIZE];
    char readme[PATH_SIZE];
    char folder[PATH_SIZE];
    char out[PATH_SIZE];
    char *section;
    char *whole;

    (void)state;
    tmp_folder("readme", folder);
    path_join(out, folder, "out");
    file_write(out, "%s", "");
    path_join(program, build_root(), "tests/bench/bench_readme");
    path_join(figures, source_root(), "tests/bench/figures.json");
    path_join(readme, source_root(), "README.md");
    assert_int_equal(proc_run((const char *const[]){program, figures, NULL}, out, 10000), 0);
    section = file_read(out);
    whole = file_read(readme);
    CHECK(strlen(section) > 200, "%s", section);
    CHECK(strstr(whole, section) != NULL, "README.md has not what make bench-readme writes:\n%s",
          section);
    free(section);
    free(whole);
}

#ifndef __SANITIZE_ADDRESS__
static void test_instructions_are_as_agreed(void **state)
{
    char program[PATH_SIZE];
    char script[PATH_SIZE];
    char folder[PATH_SIZE];
    char log[PATH_SIZE];
    int code;

    (void)state;
    tmp_folder("guard", folder);
    path_join(log, folder, "log");
    file_write(log, "%s", "");
    path_join(program, build_root(), "tests/bench/guard");
    path_join(script, source_root(), "tests/bench/guard.sh");
    code = proc_run((const char *const[]){"sh", script, program, NULL}, log, 120000);
    CHECK(code == 0, "%s", file_read(log));
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_cell_has_a_figure),
        cmocka_unit_test(test_readme_has_the_figures),
#ifndef __SANITIZE_ADDRESS__
        cmocka_unit_test(
            test_instructions_are_as_agreed), /* valgrind and ASan exclude each other */
#endif
    };

    cmocka_set_test_filter(getenv("ONLY"));
    return cmocka_run_group_tests_name("bench", tests, NULL, NULL);
}
