/* outboxd: the only place that ends the process, and the only one that prints an error. */
#include "app/cli.h"
#include "app/commands.h"
#include "app/run.h"
#include "base/str.h"

#include <stdio.h>
#include <stdlib.h>

static int print_help(enum command command)
{
    struct str text = {0};

    cli_usage(command, &text);
    (void)fputs(str_text(&text), stdout);
    str_release(&text);
    return 0;
}

static int dispatch(const struct cli *c, struct err *err)
{
    if (c->help)
        return print_help(c->command);
    switch (c->command) {
    case COMMAND_RUN:
        return run_relay(c->config, err);
    case COMMAND_CHECK:
        return command_check(c, err);
    case COMMAND_MIGRATE:
        return command_migrate(c, err);
    case COMMAND_STATUS:
        return command_status(c, err);
    case COMMAND_CONFIG:
        return command_config(c, err);
    case COMMAND_REBASE:
        return command_rebase(c, err);
    case COMMAND_TOP:
        return command_top(c, err);
    case COMMAND_HEALTH:
        return command_health(c, err);
    case COMMAND_PAUSE:
        return command_pause(c, err);
    case COMMAND_PARKED:
        return command_parked(c, err);
    case COMMAND_RESUME:
        return command_resume(c, err);
    case COMMAND_VERIFY:
        return command_verify(c, err);
    case COMMAND_REPLAY:
        return command_replay(c, err);
    case COMMAND_VERSION:
        (void)printf("outboxd %s\n", OUTBOXD_VERSION);
        return 0;
    case COMMAND_COUNT:
        break;
    }
    return err_set(err, ERR_USAGE, "no command given");
}

/* One line: the problem's word, what is particular, and what to do. */
static void print_error(const struct err *err)
{
    const char *word = problem_word(err->problem);
    const char *advice = problem_advice(err->problem);

    if (err->text[0] != '\0')
        (void)fprintf(stderr, "outboxd: %s%s%s%s%s\n", word, word[0] == '\0' ? "" : ": ", err->text,
                      advice[0] == '\0' ? "" : " -> ", advice);
}

int main(int argc, char **argv)
{
    struct cli cli;
    struct err err = {0};
    int rc = cli_parse(&cli, argc, argv, &err);

    if (rc == 0)
        rc = dispatch(&cli, &err);
    if (fflush(stdout) != 0 && rc == 0)
        rc = err_set(&err, ERR_SOFTWARE, "stdout: cannot write");
    if (rc == 0)
        return EXIT_SUCCESS;
    print_error(&err);
    return err.kind == ERR_NONE ? EXIT_FAILURE : (int)err.kind;
}
