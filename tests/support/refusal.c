#include "check.h"

#include "refusal.h"

#include "tmp.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define AT_ONCE_MS 2000

static char out[OUTBOXD_OUT];

static void take_output(const char *file)
{
    char *text = file_read(file);

    (void)snprintf(out, sizeof out, "%s", text);
    free(text);
}

static void check_error(const char *what, int got, int code, const char *const *parts)
{
    static const char start[] = "outboxd: ";
    const char *line = strncmp(out, start, strlen(start)) == 0 ? out : strstr(out, "\noutboxd: ");

    CHECK(got == code, "outboxd %s: exit code %d, expected %d: %s", what, got, code, out);
    if (line == NULL) {
        fail_msg("outboxd %s: no line of error in \"%s\"", what, out);
        return;
    }
    line += *line == '\n';
    CHECK(line[strcspn(line, "\n")] == '\n' && line[strcspn(line, "\n") + 1] == '\0',
          "outboxd %s: more behind the error: %s", what, line);
    for (; *parts != NULL; parts++)
        CHECK(strstr(line, *parts) != NULL, "outboxd %s: \"%s\" does not hold \"%s\"", what, line,
              *parts);
    CHECK(strstr(out, SECRET) == NULL, "outboxd %s: a secret is shown in \"%s\"", what, out);
}

void outboxd_refuses(const struct outboxd *o, int code, const char *const *words,
                     const char *const *parts)
{
    int got = outboxd_command(o, words[0], words + 1, out);

    check_error(words[0], got, code, parts);
}

int outboxd_bare(const char *const *words, char file[PATH_SIZE])
{
    const char *argv[8] = {outboxd_binary()};
    char folder[PATH_SIZE];
    size_t n = 1;

    while (*words != NULL && n < ARRAY_LEN(argv) - 1)
        argv[n++] = *words++;
    tmp_folder("bare", folder);
    path_join(file, folder, "out");
    file_write(file, "%s", "");
    return proc_run(argv, file, 10000);
}

void outboxd_refuses_bare(int code, const char *const *words, const char *const *parts)
{
    char file[PATH_SIZE];
    int got = outboxd_bare(words, file);

    take_output(file);
    check_error(words[0] == NULL ? "" : words[0], got, code, parts);
}

const char *outboxd_succeeds(const struct outboxd *o, const char *const *words, const char *part)
{
    int got = outboxd_command(o, words[0], words + 1, out);

    CHECK(got == 0, "outboxd %s: exit code %d: %s", words[0], got, out);
    assert_contains(out, part);
    assert_lacks(out, SECRET);
    return out;
}

void outboxd_stops_at_once(struct outboxd *o)
{
    uint64_t start = test_now_ms();

    assert_true(proc_alive(&o->proc));
    assert_int_equal(outboxd_stop(o), 0);
    assert_in_range(test_now_ms() - start, 0, AT_ONCE_MS);
}

void outboxd_refuses_nobody(int code, const char *config, const char *const *parts)
{
    char folder[PATH_SIZE];
    char program[PATH_SIZE];
    char log[PATH_SIZE];
    struct proc p;

    tmp_folder("nobody", folder);
    path_join(program, folder, "outboxd");
    path_join(log, folder, "log");
    assert_int_equal(proc_run(WORDS("cp", outboxd_binary(), program), log, 10000), 0);
    proc_start(&p, &(struct proc_params){.argv = WORDS(program, "run", "-c", config),
                                         .out_path = log,
                                         .err_path = log,
                                         .cwd = "/",
                                         .user = geteuid() == 0 ? "nobody" : NULL});
    assert_true(proc_wait(&p, 10000));
    take_output(log);
    check_error("run", proc_exit_code(&p), code, parts);
}
