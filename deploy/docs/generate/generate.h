/* Writes the reference from the tables in the code: `make docs`. Each writer appends one whole file
 * to `out`; what people wrote by hand comes from the .txt files beside this one. A writer returns
 * -1 when a text is missing or belongs to nothing, so that a new problem, command or metric cannot
 * go without one. */
#ifndef OUTBOXD_DEPLOY_DOCS_GENERATE_H
#define OUTBOXD_DEPLOY_DOCS_GENERATE_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>

/* ---- texts in sections: "= word", then lines until the next one; "#" lines before the first ----
 */

#define SECTIONS_MAX 96

struct section {
    char word[48];
    struct slice text; /* without blank lines at both ends */
    bool taken;
};

struct sections {
    const char *path;
    char *content;
    struct section at[SECTIONS_MAX];
    size_t count;
};

NODISCARD int sections_load(struct sections *s, const char *path, struct err *err);
void sections_release(struct sections *s);
/* The section of that word, marked as taken; NULL with `err` filled when there is none. */
const struct section *sections_take(struct sections *s, const char *word, struct err *err);
/* -1 when a section was never taken. */
NODISCARD int sections_all_taken(const struct sections *s, struct err *err);

/* ---- the writers --------------------------------------------------------------------------------
 */

NODISCARD int put_settings_md(struct str *out, struct err *err);
NODISCARD int put_metrics_md(struct str *out, struct err *err);
NODISCARD int put_exit_codes_md(struct str *out, struct err *err);
NODISCARD int put_runbook_md(struct str *out, struct err *err);
NODISCARD int put_manual_8(struct str *out, struct err *err);
NODISCARD int put_manual_5(struct str *out, struct err *err);
NODISCARD int put_bash(struct str *out, struct err *err);
NODISCARD int put_zsh(struct str *out, struct err *err);
NODISCARD int put_fish(struct str *out, struct err *err);

/* ---- settings, as both the page and the manual tell them ----------------------------------------
 */

struct setting;
/* "text", "number, 1 to 1000000", "duration, 1s to 10m", ... */
void put_setting_type(struct str *out, const struct setting *t);
/* The default as it would stand in the file; "" when the setting must be given. */
const char *setting_default_text(const struct setting *t);

#endif
