#include "member.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_ARGS 40

void member_start(struct member *m, const char *const *common, const char *const *more)
{
    const char *argv[MOST_ARGS];
    char program[PATH_SIZE];
    char folder[PATH_SIZE];
    size_t n = 0;

    *m = (struct member){0};
    tmp_folder("member", folder);
    path_join(m->log, folder, "log");
    path_join(m->out, folder, "counters");
    path_join(program, build_root(), "tests/tools/inbox_member");
    argv[n++] = program;
    while (*common != NULL && n < MOST_ARGS - 1)
        argv[n++] = *common++;
    while (more != NULL && *more != NULL && n < MOST_ARGS - 1)
        argv[n++] = *more++;
    argv[n] = NULL;
    proc_start(&m->proc,
               &(struct proc_params){.argv = argv, .out_path = m->out, .err_path = m->log});
}

int member_stop(struct member *m)
{
    proc_stop(&m->proc, SIGTERM, 30000);
    return proc_exit_code(&m->proc);
}

void member_kill9(struct member *m)
{
    if (m->proc.pid != 0 && proc_alive(&m->proc))
        proc_kill9(&m->proc);
}

/* The letter behind the name in parentheses: R, S, T... */
bool member_is_parked(const struct member *m)
{
    char path[64];
    char line[512] = "";
    const char *state;
    FILE *f;

    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)m->proc.pid);
    f = fopen(path, "re");
    if (f == NULL)
        return false;
    if (fgets(line, sizeof line, f) == NULL)
        line[0] = '\0';
    (void)fclose(f);
    state = strrchr(line, ')');
    return state != NULL && strncmp(state, ") T", 3) == 0;
}

void member_wake(struct member *m)
{
    proc_signal(&m->proc, SIGCONT);
}

int member_log_count(const struct member *m, const char *text)
{
    char *log = file_read(m->log);
    int n = 0;

    for (const char *at = strstr(log, text); at != NULL; at = strstr(at + 1, text))
        n++;
    free(log);
    return n;
}

int64_t member_counter(const struct member *m, const char *metric)
{
    char *text = file_read(m->out);
    char start[128];
    const char *at;
    int64_t value = -1;

    (void)snprintf(start, sizeof start, "\n%s{", metric);
    at = strstr(text, start);
    if (at != NULL)
        at = strchr(at, ' ');
    if (at != NULL)
        value = strtoll(at, NULL, 10);
    free(text);
    if (value < 0)
        support_fail("no %s in %s", metric, m->out);
    return value;
}
