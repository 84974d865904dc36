/* The manual pages outboxd(8) and outboxd.yaml(5). Commands and options come from app/cli.c,
 * settings from settings/table.c, exit codes from base/err.h, the rest from manual.txt. */
#include "generate.h"
#include "roff.h"

#include "app/cli.h"
#include "settings/table.h"

#include <ctype.h>
#include <string.h>

#define TEXTS "deploy/docs/generate/manual.txt"

static void put_head(struct str *out, const char *title, const char *section)
{
    str_printf(out, ".\\\" Written by `make docs`.\n.TH %s %s \"\" outboxd\n.nh\n.ad l\n.SH NAME\n",
               title, section);
}

static int put_text(struct str *out, struct sections *texts, const char *word, struct err *err)
{
    const struct section *s = sections_take(texts, word, err);

    if (s == NULL)
        return -1;
    roff_text(out, s->text, ".PP");
    return 0;
}

/* A section of the manual with the text of that word: "FILES" and "files". */
static int put_section(struct str *out, struct sections *texts, const char *title, const char *word,
                       struct err *err)
{
    str_printf(out, ".SH %s\n", title);
    return put_text(out, texts, word, err);
}

/* ---- outboxd(8)
 * ---------------------------------------------------------------------------------------------- */

/* What stands for the value: words to choose from in bold, a name in italics. */
static void put_value(struct str *out, const char *value)
{
    if (islower((unsigned char)value[0])) {
        roff_bold(out, value);
        return;
    }
    str_puts(out, "\\fI");
    roff_line(out, slice_of(value));
    str_puts(out, "\\fR");
}

static void put_option(void *ctx, const struct cli_option *o)
{
    struct str *out = ctx;
    struct str word = {0};

    str_puts(out, ".TP\n");
    if (o->letter != 0) {
        str_printf(&word, "-%c", o->letter);
        roff_bold(out, word.data);
        str_puts(out, ", ");
    }
    str_reset(&word);
    str_printf(&word, "--%s", o->name);
    roff_bold(out, word.data);
    if (o->value != NULL) {
        str_put_char(out, ' ');
        put_value(out, o->value);
    }
    str_put_char(out, '\n');
    str_reset(&word);
    str_printf(&word, "%c%s.", toupper((unsigned char)o->help[0]), o->help + 1);
    roff_line(out, str_slice(&word));
    str_put_char(out, '\n');
    str_release(&word);
}

static int put_command(struct str *out, struct sections *texts, enum command c, struct err *err)
{
    str_puts(out, ".SS outboxd ");
    roff_line(out, slice_of(command_name(c)));
    str_put_char(out, '\n');
    if (put_text(out, texts, command_name(c), err) != 0)
        return -1;
    cli_each_option(c, put_option, out);
    return 0;
}

static void put_exit_status(struct str *out)
{
    str_puts(out, ".SH EXIT STATUS\n.TP\n\\fB0\\fR\nDone.\n");
#define X(name, code, short_text, meaning)                                                         \
    str_printf(out, ".TP\n\\fB%d\\fR (%s)\n", code, short_text);                                   \
    roff_line(out, slice_of(meaning));                                                             \
    str_put_char(out, '\n');
    ERR_KINDS(X)
#undef X
}

static int put_8(struct str *out, struct sections *texts, struct err *err)
{
    put_head(out, "OUTBOXD", "8");
    str_puts(out, "outboxd \\- ");
    roff_line(out, slice_of(command_summary(COMMAND_COUNT)));
    str_puts(out, "\n.SH SYNOPSIS\n.B outboxd\n.I command\n.RI [ options ]\n");
    if (put_section(out, texts, "DESCRIPTION", "description", err) != 0)
        return -1;
    str_puts(out, ".SH COMMANDS\n");
    for (unsigned c = 0; c < COMMAND_COUNT; c++)
        if (put_command(out, texts, (enum command)c, err) != 0)
            return -1;
    if (put_section(out, texts, "SIGNALS", "signals", err) != 0 ||
        put_section(out, texts, "HTTP", "http", err) != 0)
        return -1;
    put_exit_status(out);
    if (put_section(out, texts, "ENVIRONMENT", "environment", err) != 0 ||
        put_section(out, texts, "FILES", "files", err) != 0 ||
        put_section(out, texts, "EXAMPLES", "examples", err) != 0)
        return -1;
    str_puts(out, ".SH SEE ALSO\n.BR outboxd.yaml (5),\n.BR psql (1),\n.BR systemd.service (5)\n");
    return 0;
}

/* ---- outboxd.yaml(5)
 * ----------------------------------------------------------------------------------------- */

static void put_setting(struct str *out, const struct setting *t)
{
    const char *def = setting_default_text(t);
    struct str facts = {0};

    str_puts(out, ".TP\n");
    roff_bold(out, t->path);
    str_puts(out, " (");
    put_setting_type(&facts, t);
    roff_line(out, str_slice(&facts));
    str_puts(out, ")\n");
    roff_text(out, slice_of(t->help), ".IP");
    str_puts(out, ".IP\n");
    if (def[0] == '\0') {
        str_puts(out, "It must be given.");
    } else {
        str_puts(out, "Default: ");
        roff_bold(out, def);
        str_put_char(out, '.');
    }
    if (t->reloadable)
        str_puts(out, " Read again on SIGHUP.");
    if (setting_has_file(t)) {
        str_puts(out, " Also as ");
        str_reset(&facts);
        str_printf(&facts, "%s_file", setting_leaf(t));
        roff_bold(out, facts.data);
        str_puts(out, ": the path of a file that holds it.");
    }
    str_put_char(out, '\n');
    str_release(&facts);
}

static int put_5(struct str *out, struct sections *texts, struct err *err)
{
    put_head(out, "OUTBOXD.YAML", "5");
    str_puts(out, "outboxd.yaml \\- configuration of outboxd\n");
    if (put_section(out, texts, "DESCRIPTION", "yaml description", err) != 0)
        return -1;
    str_puts(out, ".SH SETTINGS\n");
    for (size_t i = 0; i < settings_count; i++) {
        const struct setting *t = &settings_table[i];
        size_t len = setting_section_len(t);

        if (setting_begins_section(t))
            str_printf(out, ".SS %.*s\n", len == 0 ? (int)strlen(t->path) : (int)len, t->path);
        put_setting(out, t);
    }
    if (put_section(out, texts, "EXAMPLES", "yaml example", err) != 0)
        return -1;
    str_puts(out, ".SH SEE ALSO\n.BR outboxd (8)\n");
    return 0;
}

/* ---- both --------------------------------------------------------------------------------------
 */

/* The two manuals share a file of texts; `yaml` tells whose is written. */
static int put_manual(struct str *out, int (*put)(struct str *, struct sections *, struct err *),
                      bool yaml, struct err *err)
{
    struct sections texts;
    int rc = sections_load(&texts, TEXTS, err);

    if (rc == 0)
        rc = put(out, &texts, err);
    for (size_t i = 0; rc == 0 && i < texts.count; i++)
        if ((strncmp(texts.at[i].word, "yaml ", 5) == 0) != yaml)
            texts.at[i].taken = true; /* the other manual's */
    if (rc == 0)
        rc = sections_all_taken(&texts, err);
    sections_release(&texts);
    return rc;
}

int put_manual_8(struct str *out, struct err *err)
{
    return put_manual(out, put_8, false, err);
}

int put_manual_5(struct str *out, struct err *err)
{
    return put_manual(out, put_5, true, err);
}
