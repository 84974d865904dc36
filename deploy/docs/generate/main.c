/* generate FILE: writes one file of the reference to stdout, by its name; generate --list names
 * them all. `make docs` writes every one of them, and a test holds the committed files against this
 * program. */
#include "generate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *path;
    int (*put)(struct str *out, struct err *err);
} pages[] = {
    {"deploy/docs/settings.md", put_settings_md},     {"deploy/docs/metrics.md", put_metrics_md},
    {"deploy/docs/exit-codes.md", put_exit_codes_md}, {"deploy/docs/runbook.md", put_runbook_md},
    {"deploy/man/outboxd.8", put_manual_8},           {"deploy/man/outboxd.yaml.5", put_manual_5},
    {"deploy/completion/outboxd.bash", put_bash},     {"deploy/completion/_outboxd", put_zsh},
    {"deploy/completion/outboxd.fish", put_fish},
};

static int write_page(size_t i)
{
    struct str text = {0};
    struct err err = {0};
    int rc = pages[i].put(&text, &err);

    if (rc != 0)
        (void)fprintf(stderr, "generate: %s: %s\n", pages[i].path, err.text);
    else if (fputs(str_text(&text), stdout) < 0 || fflush(stdout) != 0)
        rc = -1;
    str_release(&text);
    return rc == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    const char *what = argc == 2 ? argv[1] : "";
    bool list = strcmp(what, "--list") == 0;

    for (size_t i = 0; i < ARRAY_LEN(pages); i++) {
        if (list)
            (void)puts(pages[i].path);
        else if (strcmp(pages[i].path, what) == 0)
            return write_page(i);
    }
    if (!list)
        (void)fprintf(stderr, "usage: generate --list | FILE\n");
    return list ? EXIT_SUCCESS : (int)ERR_USAGE;
}
