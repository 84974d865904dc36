/* deploy/docs/exit-codes.md: the kinds of base/err.h, and which problems end `run` with which. */
#include "generate.h"

#include "base/problem.h"

int put_exit_codes_md(struct str *out, struct err *err)
{
    (void)err;
    str_puts(out,
             "# Exit codes\n\n"
             "They follow `sysexits.h`. Written by `make docs` from `src/base/err.h`.\n\n"
             "| Code | In short | What it means, and what to do |\n|---|---|---|\n"
             "| 0 | done | The command did what it says; `run` was told to stop and drained. |\n");
#define X(name, code, short_text, meaning)                                                         \
    str_printf(out, "| %d | %s | %s |\n", (code), (short_text), (meaning));
    ERR_KINDS(X)
#undef X
    str_puts(
        out,
        "\nA process that was ended by a signal has the shell's code, 128 plus the signal: 137 "
        "after SIGKILL,\nsuch as from the kernel when memory is short.\n\n"
        "## When `run` ends by itself\n\n"
        "It waits for whatever can come back. It ends only for what a person must mend, and "
        "its last line names\none of these words, each with a section in the "
        "[runbook](runbook.md):\n\n| Word | What happened |\n|---|---|\n");
    for (unsigned i = PROBLEM_NONE + 1; i < PROBLEM_COUNT; i++) {
        enum problem p = (enum problem)i;

        if (problem_class(p) == PROBLEM_FINAL)
            str_printf(out, "| [`%s`](runbook.md#%s) | %s |\n", problem_word(p), problem_word(p),
                       problem_what(p));
    }
    str_puts(out, "\nThe code is 78, or 70 for `internal_error`. The systemd unit starts the relay "
                  "again after any failure\nbut 64 and 78, which would only come back.\n");
    return 0;
}
