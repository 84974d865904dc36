/* The relay's core against thousands of seeded worlds.
 *
 *   SEEDS=n         so many times as many seeds
 *   SEED=n          this seed only (with SCENARIO=faultless|faults|two|lanes, default all)
 *   VERBOSE=1       tells the whole story of each run on stderr; meant for one seed
 *
 * A failed run prints its scenario and seed; the same seed repeats it exactly. */
#include "sim.h"

#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define DEFECT_SEEDS 400 /* a defect must be found within so many */

static const char *const names[] = {"faultless", "faults", "two", "lanes"};

static uint64_t number_from(const char *variable, uint64_t otherwise)
{
    const char *text = getenv(variable);
    return text != NULL ? strtoull(text, NULL, 10) : otherwise;
}

/* What is running now, for the case that an assertion of the core ends the process. */
static struct plan now;
static char now_line[128];
static size_t now_length;

static void on_abort(int sig)
{
    if (write(STDERR_FILENO, now_line, now_length) < 0)
        _exit(1);
    signal(sig, SIG_DFL);
    raise(sig);
}

static bool run(enum scenario scenario, uint64_t seed, enum defect defect, struct outcome *out)
{
    now_length =
        (size_t)snprintf(now_line, sizeof now_line, "aborted in: SCENARIO=%s SEED=%" PRIu64 "\n",
                         names[scenario], seed);
    plan_draw(&now, scenario, seed, defect);
    now.verbose = number_from("VERBOSE", 0) != 0;
    return sim_run(&now, out);
}

/* ---- the scenarios ---- */

struct sums {
    struct outcome all;
    uint64_t runs;
    uint64_t failures;
    uint64_t slowest_us;
    uint64_t slowest_seed;
    uint64_t longest_us; /* that nothing moved of that with which nothing was wrong */
    uint64_t longest_seed;
};

/* Of all scenarios together. */
static uint64_t sights[SIGHT_COUNT];

static void add(struct sums *s, const struct outcome *o)
{
    s->runs++;
    for (int i = 0; i < SIGHT_COUNT; i++)
        sights[i] += o->sights[i];
    s->all.steps += o->steps;
    s->all.events += o->events;
    s->all.duplicates += o->duplicates;
    s->all.faults += o->faults;
    s->all.recoveries += o->recoveries;
    s->all.takeovers += o->takeovers;
    s->all.pages += o->pages;
    if (o->still_us > s->longest_us) {
        s->longest_us = o->still_us;
        s->longest_seed = now.seed;
    }
    if (o->drain_us > s->slowest_us) {
        s->slowest_us = o->drain_us;
        s->slowest_seed = now.seed;
    }
}

static void run_scenario(enum scenario scenario, uint64_t seeds)
{
    const char *only = getenv("SCENARIO");
    struct sums s = {0};
    uint64_t first = 1;
    uint64_t last = seeds * number_from("SEEDS", 1);
    if (only != NULL && strcmp(only, names[scenario]) != 0)
        return;
    if (getenv("SEED") != NULL)
        first = last = number_from("SEED", 1);
    for (uint64_t seed = first; seed <= last && s.failures < 10; seed++) {
        struct outcome o;
        if (!run(scenario, seed, DEFECT_NONE, &o)) {
            s.failures++;
            print_error("SCENARIO=%s SEED=%" PRIu64 ": %s\n", names[scenario], seed, o.failure);
        }
        add(&s, &o);
    }
    print_message("%s: %" PRIu64 " runs, %" PRIu64 " steps, %" PRIu64 " events, %" PRIu64
                  " faults, %" PRIu64 " duplicates, %" PRIu64 " recoveries, %" PRIu64
                  " takeovers, %" PRIu64 " pages; slowest drain %.1f s (seed %" PRIu64 ")\n",
                  names[scenario], s.runs, s.all.steps, s.all.events, s.all.faults,
                  s.all.duplicates, s.all.recoveries, s.all.takeovers, s.all.pages,
                  (double)s.slowest_us / 1e6, s.slowest_seed);
    if (s.longest_us > 0)
        print_message(
            "%s: what nothing was wrong with stood still for %.1f s at the most (seed %" PRIu64
            ")\n",
            names[scenario], (double)s.longest_us / 1e6, s.longest_seed);
    assert_int_equal(s.failures, 0);
}

static void test_faultless(void **state)
{
    (void)state;
    run_scenario(SCENARIO_FAULTLESS, 500);
}

static void test_faults(void **state)
{
    (void)state;
    run_scenario(SCENARIO_FAULTS, 3000);
}

static void test_two_relays(void **state)
{
    (void)state;
    run_scenario(SCENARIO_TWO, 2000);
}

static void test_lanes(void **state)
{
    (void)state;
    run_scenario(SCENARIO_LANES, 1200);
}

/* A simulation that never meets what it is there for would prove nothing. */
static void test_all_was_met(void **state)
{
    static const char *const texts[] = {
#define X(name, text) text,
        SIGHTS(X)
#undef X
    };
    (void)state;
    if (getenv("SEED") != NULL || getenv("SCENARIO") != NULL)
        return;
    for (int i = 0; i < SIGHT_COUNT; i++) {
        print_message("  %8" PRIu64 " %s\n", sights[i], texts[i]);
        assert_true(sights[i] > 0);
    }
}

/* ---- defects: the oracle must be able to fail ---- */

static enum scenario scenario_of(enum defect d, uint64_t seed)
{
    if (d == DEFECT_DEAF)
        return SCENARIO_FAULTLESS;
    if (d >= DEFECT_CHANGE_IGNORES_EPOCH && d <= DEFECT_NO_PARKING)
        return SCENARIO_LANES;
    return seed % 2 == 0 ? SCENARIO_FAULTS : SCENARIO_TWO;
}

/* In a child: an assertion of the core is a finding too. Exits 0 when no seed fails, 1 when the
 * oracle objects. */
static int hunt(enum defect d)
{
    signal(SIGABRT, SIG_DFL);
    if (freopen("/dev/null", "w", stderr) == NULL)
        return 2;
    for (uint64_t seed = 1; seed <= DEFECT_SEEDS; seed++) {
        struct outcome o;
        if (!run(scenario_of(d, seed), seed, d, &o)) {
            printf("  found at seed %" PRIu64 ": %s\n", seed, o.failure);
            return 1;
        }
    }
    return 0;
}

static void test_defects_are_found(void **state)
{
    (void)state;
    if (getenv("SEED") != NULL || getenv("SCENARIO") != NULL)
        return;
    for (int d = DEFECT_NONE + 1; d < DEFECT_COUNT; d++) {
        fflush(stdout);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            printf("defect: %s\n", defect_text((enum defect)d));
            int rc = hunt((enum defect)d);
            fflush(stdout);
            _exit(rc);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        bool found = (WIFEXITED(status) && WEXITSTATUS(status) == 1) ||
                     (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
        if (WIFSIGNALED(status))
            print_message("defect: %s\n  found by an assertion of the core\n",
                          defect_text((enum defect)d));
        if (!found)
            print_error("not found in %d seeds: %s\n", DEFECT_SEEDS, defect_text((enum defect)d));
        assert_true(found);
    }
}

/* The same seed gives the same run, step by step. */
static void test_runs_repeat(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20 && getenv("SEED") == NULL; seed++) {
        struct outcome a;
        struct outcome b;
        (void)run(SCENARIO_TWO, seed, DEFECT_NONE, &a);
        (void)run(SCENARIO_TWO, seed, DEFECT_NONE, &b);
        assert_int_equal(a.steps, b.steps);
        assert_int_equal(a.duplicates, b.duplicates);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_runs_repeat),
        cmocka_unit_test(test_faultless),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_two_relays),
        cmocka_unit_test(test_lanes),
        cmocka_unit_test(test_all_was_met),
        cmocka_unit_test(test_defects_are_found),
    };
    signal(SIGABRT, on_abort);
    return cmocka_run_group_tests_name("simulation", tests, NULL, NULL);
}
