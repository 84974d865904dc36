/* The demo of the example (deploy/example/demo), as a program: orders through services that are
 * killed all along add up, and Ctrl-C leaves nothing behind. */
#include "../support/check.h"
#include "../support/proc.h"
#include "../support/pty.h"

#include "base/str.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RUN_MS      300000 /* for all of it, on a machine that does something else beside it */
#define PATIENCE_MS 90000

static const char *demo(void)
{
    static char path[PATH_SIZE];

    path_join(path, build_root(), "deploy/example/demo/demo");
    return path;
}

/* ---- what is left ---- */

/* The demo's folder, out of what it printed: "private, in /tmp/outboxd-XXXXXX/pg". */
static void find_folder(const char *printed, char out[PATH_SIZE])
{
    const char *at = strstr(printed, "private, in ");
    const char *end;

    assert_non_null(at);
    at += strlen("private, in ");
    end = strstr(at, "/pg");
    assert_non_null(end);
    assert_true(end > at && end - at < PATH_SIZE);
    memcpy(out, at, (size_t)(end - at));
    out[end - at] = '\0';
}

static bool file_names(const char *pid, const char *file, const char *text)
{
    char path[PATH_SIZE];
    char piece[65536];
    size_t len;
    FILE *f;

    (void)snprintf(path, sizeof path, "/proc/%s/%s", pid, file);
    f = fopen(path, "re");
    if (f == NULL)
        return false;
    len = fread(piece, 1, sizeof piece, f);
    (void)fclose(f);
    return len > 0 && memmem(piece, len, text, strlen(text)) != NULL;
}

/* Every process of the demo knows its folder: by its arguments, or by the address of its database.
 */
static int count_processes(const char *folder)
{
    DIR *d = opendir("/proc");
    int count = 0;

    assert_non_null(d);
    for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d))
        if (e->d_name[0] >= '0' && e->d_name[0] <= '9')
            count += file_names(e->d_name, "cmdline", folder) ||
                     file_names(e->d_name, "environ", folder);
    (void)closedir(d);
    return count;
}

static void assert_nothing_left(const char *folder)
{
    assert_int_equal(access(folder, F_OK), -1);
    assert_int_equal(count_processes(folder), 0);
}

/* ---- tests ---- */

static void test_adds_up(void **state)
{
    char out[PATH_SIZE];
    char folder[PATH_SIZE];
    char *printed;
    struct proc p;

    (void)state;
    path_join(out, tmp_root(), "demo.out");
    proc_start(&p,
               &(struct proc_params){.argv = (const char *const[]){demo(), NULL},
                                     .env = (const char *const[]){"ORDERS=500", "DEMO_SECONDS=12",
                                                                  "KEEP", "BROKERS", NULL},
                                     .out_path = out,
                                     .err_path = out});
    if (!proc_wait(&p, RUN_MS))
        proc_signal(&p, SIGTERM); /* it takes its own processes with it */
    if (!proc_wait(&p, PATIENCE_MS) || proc_exit_code(&p) != 0)
        support_fail("the demo failed:\n%s", file_read(out));
    printed = file_read(out);
    assert_contains(printed, "orders taken         500       500  ok");
    assert_contains(printed, "took effect once");
    assert_null(strstr(printed, "  NO  "));
    assert_null(strchr(printed, '\033')); /* no terminal: plain lines */
    find_folder(printed, folder);
    assert_nothing_left(folder);
    free(printed);
}

/* Ctrl-C once it has printed `when`. */
static void interrupt(const char *when)
{
    char folder[PATH_SIZE];
    struct pty p;

    pty_start(&p, (const char *const[]){demo(), NULL},
              (const char *const[]){"KEEP", "BROKERS", NULL}, 100, 40);
    pty_wait(&p, when, PATIENCE_MS);
    find_folder(p.got.data, folder);
    assert_true(count_processes(folder) > 0);
    pty_type(&p, "\003");
    assert_int_equal(pty_wait_end(&p, PATIENCE_MS), 128 + SIGINT);
    assert_true(pty_is_as_before(&p));
    if (strstr(p.got.data, "\033[?25l") != NULL)
        assert_contains(p.got.data, "\033[?25h"); /* the cursor is back */
    assert_nothing_left(folder);
    pty_close(&p);
}

static void test_ctrl_c_while_servers_start(void **state)
{
    (void)state;
    interrupt("private, one broker");
}

static void test_ctrl_c_among_faults(void **state)
{
    (void)state;
    interrupt("kill -9 ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ctrl_c_while_servers_start),
        cmocka_unit_test(test_ctrl_c_among_faults),
        cmocka_unit_test(test_adds_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
