/* strace -D stands behind the relay, which keeps its process id and hears signals itself; the
 * summary is there a moment after its end. */
#include "calls.h"

#include "numbers.h"

#include "base/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SUMMARY_MS 10000
#define MOST       6 /* names that are told */

/* A program that is the relay under strace. */
static void write_wrapper(const char *path, const char *program, const char *summary)
{
    file_write(path, "#!/bin/sh\nexec strace -D -f -q -c -S calls -o '%s' '%s' \"$@\"\n", summary,
               program);
    if (chmod(path, 0755) != 0)
        support_fail("chmod %s", path);
}

static char *await_summary(const char *path)
{
    uint64_t end = test_now_ms() + SUMMARY_MS;

    for (;;) {
        char *text = access(path, R_OK) == 0 ? file_read(path) : NULL;

        if (text != NULL && strstr(text, " total\n") != NULL)
            return text;
        free(text);
        if (test_now_ms() > end)
            support_fail("strace wrote no summary to %s", path);
        test_sleep_ms(20);
    }
}

/* "% time, seconds, usecs/call, calls, errors if any, name" in each line, the most frequent first;
 * "total" stands in the last one. Returns the total. */
static double parse_summary(char *text, json_t *most, double events)
{
    double total = 0;
    char *rest = NULL;

    for (char *line = strtok_r(text, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        const char *name = strrchr(line, ' ');
        double calls = 0;
        char *at = line;

        for (int column = 0; column < 4; column++)
            calls = strtod(at, &at);
        if (calls <= 0 || name == NULL)
            continue;
        if (strcmp(name + 1, "total") == 0)
            total = calls;
        else if (json_object_size(most) < MOST)
            number_set(most, name + 1, calls / events);
    }
    return total;
}

json_t *calls_run(const struct drain *d)
{
    char *program = xstrdup(getenv("OUTBOXD") != NULL ? getenv("OUTBOXD") : "");
    char folder[PATH_SIZE];
    char wrapper[PATH_SIZE];
    char summary[PATH_SIZE];
    char *text;
    json_t *most = json_object();
    json_t *cell;
    double total;

    if (program[0] == '\0')
        support_fail("OUTBOXD names no program");
    tmp_folder("calls", folder);
    path_join(wrapper, folder, "outboxd");
    path_join(summary, folder, "summary");
    write_wrapper(wrapper, program, summary);
    (void)setenv("OUTBOXD", wrapper, 1);
    json_decref(drain_relay(d));
    (void)setenv("OUTBOXD", program, 1);
    free(program);
    text = await_summary(summary);
    total = parse_summary(text, most, (double)d->events);
    free(text);
    if (total <= 0)
        support_fail("no total in %s", summary);
    cell = json_pack("{ss,ss,ss,sI,so}", "group", "calls", "name", d->name, "title", d->title,
                     "events", (json_int_t)d->events, "most", most);
    number_set(cell, "per_event", total / (double)d->events);
    return cell;
}
