/* deploy/docs/settings.md: every setting, from settings/table.c. */
#include "generate.h"

#include "settings/table.h"
#include "settings/value.h"

#include <string.h>

static void put_range(struct str *out, const struct setting *t, void (*put)(struct str *, uint64_t))
{
    put(out, (uint64_t)t->min);
    str_puts(out, " to ");
    put(out, (uint64_t)t->max);
}

static void put_words(struct str *out, const struct setting *t)
{
    for (size_t i = 0; t->words[i] != NULL; i++)
        str_printf(out, "%s%s",
                   i == 0                    ? ""
                   : t->words[i + 1] == NULL ? " or "
                                             : ", ",
                   t->words[i][0] == '\0' ? "empty" : t->words[i]);
}

void put_setting_type(struct str *out, const struct setting *t)
{
    switch (t->type) {
    case SETTING_STRING:
        str_puts(out, "text");
        break;
    case SETTING_SECRET:
        str_puts(out, "secret, never printed");
        break;
    case SETTING_CONNINFO:
        str_puts(out, "libpq URL or key=value string");
        break;
    case SETTING_INT:
        str_printf(out, "number, %lld to %lld", (long long)t->min, (long long)t->max);
        break;
    case SETTING_SIZE:
        str_puts(out, "size, ");
        put_range(out, t, value_put_size);
        break;
    case SETTING_DURATION:
    case SETTING_SPAN:
        str_puts(out, "duration, ");
        put_range(out, t, value_put_duration);
        break;
    case SETTING_ENUM:
        put_words(out, t);
        break;
    case SETTING_TOPICS:
        str_puts(out, "list of patterns");
        break;
    case SETTING_PROPERTIES:
        str_puts(out, "properties by name");
        break;
    case SETTING_ROUTES:
        str_puts(out, "list of routes");
        break;
    }
}

const char *setting_default_text(const struct setting *t)
{
    if (t->def != NULL)
        return t->def[0] == '\0' ? "\"\"" : t->def;
    return t->type == SETTING_TOPICS || t->type == SETTING_PROPERTIES || t->type == SETTING_ROUTES
               ? t->example
               : "";
}

/* Indented lines of a help text are a piece of the file. */
static void put_help(struct str *out, const char *lines)
{
    bool code = false;

    while (*lines != '\0') {
        size_t len = strcspn(lines, "\n");
        bool indented = strncmp(lines, "  ", 2) == 0;

        if (indented != code)
            str_puts(out, code ? "```\n\n" : "\n```yaml\n");
        code = indented;
        str_printf(out, "%.*s\n", (int)len, lines);
        lines += len + (lines[len] == '\n');
    }
    if (code)
        str_puts(out, "```\n");
}

static void put_setting(struct str *out, const struct setting *t)
{
    const char *def = setting_default_text(t);

    str_printf(out, "\n### %s\n\n", t->path);
    put_help(out, t->help);
    str_puts(out, "\n| Type | ");
    put_setting_type(out, t);
    str_puts(out, " |\n|---|---|\n| Default | ");
    if (def[0] == '\0')
        str_puts(out, "none: it must be given");
    else
        str_printf(out, "`%s`", def);
    str_printf(out, " |\n| Read again on SIGHUP | %s |\n", t->reloadable ? "yes" : "no");
    if (setting_has_file(t))
        str_printf(out, "| From a file | `%s_file`: the path of a file that holds it |\n",
                   setting_leaf(t));
}

int put_settings_md(struct str *out, struct err *err)
{
    (void)err;
    str_puts(out,
             "# Settings\n\n"
             "Every setting of `outboxd.yaml`, written by `make docs` from the table that the "
             "program itself reads\n(`src/settings/table.c`). `outboxd config` checks a file and "
             "prints what is in force; `outboxd config\n--example` prints one that names them "
             "all. Unknown keys are errors.\n\n"
             "Sizes take `B`, `KB`, `MB`, `GB` (1000) or `KiB`, `MiB`, `GiB` (1024); durations "
             "take `ms`, `s`, `m`, `h`, `d`.\n`${NAME}` and `${NAME:-default}` in a value come "
             "from the environment; `$$` is a dollar.\n");
    for (size_t i = 0; i < settings_count; i++) {
        const struct setting *t = &settings_table[i];
        size_t len = setting_section_len(t);

        if (setting_begins_section(t))
            str_printf(out, "\n## %.*s\n", len == 0 ? (int)strlen(t->path) : (int)len, t->path);
        put_setting(out, t);
    }
    return 0;
}
