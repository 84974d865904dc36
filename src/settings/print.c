/* Settings as YAML: the effective ones, and the example file. */
#include "settings/print.h"
#include "settings/load.h"
#include "settings/text.h"
#include "settings/value.h"

#include <string.h>

#define HIDDEN "\"***\""

static void put_topics(const struct settings *s, struct str *out)
{
    if (s->routes.topic_count == 0)
        str_puts(out, " [\"*\"]");
    for (size_t i = 0; i < s->routes.topic_count; i++) {
        str_puts(out, i == 0 ? " [" : ", ");
        text_put_yaml(out, s->routes.topics[i]);
        str_puts(out, i + 1 == s->routes.topic_count ? "]" : "");
    }
    str_puts(out, "\n");
}

static void put_properties(const struct settings *s, struct str *out, bool with_secrets)
{
    str_puts(out, s->kafka.property_count == 0 ? " {}\n" : "\n");
    for (size_t i = 0; i < s->kafka.property_count; i++) {
        const struct kafka_property *p = &s->kafka.properties[i];

        str_puts(out, "    ");
        text_put_key(out, p->name);
        str_puts(out, ": ");
        if (p->secret && !with_secrets)
            str_puts(out, HIDDEN);
        else
            text_put_yaml(out, p->value);
        str_puts(out, "\n");
    }
}

static void put_pair(struct str *out, const char *indented_key, const char *value)
{
    if (value == NULL)
        return;
    str_printf(out, "%s: ", indented_key);
    text_put_yaml(out, value);
    str_puts(out, "\n");
}

static void put_route(const struct route *r, struct str *out)
{
    put_pair(out, "  - name", r->name);
    str_puts(out, "    match:\n");
    put_pair(out, "      aggregate_type", r->match_aggregate_type);
    put_pair(out, "      event_type", r->match_event_type);
    put_pair(out, "    topic", r->topic == NULL ? "{aggregate_type}-events" : r->topic);
    put_pair(out, "    format", format_name(r->format));
    str_puts(out, "    fields:\n");
    put_pair(out, "      eventId", r->fields.event_id);
    put_pair(out, "      eventType", r->fields.event_type);
    put_pair(out, "      occurredAt", r->fields.occurred_at);
    put_pair(out, "      version", r->fields.version);
    put_pair(out, "      payload", r->fields.payload);
    put_pair(out, "    on_error", on_error_name(r->on_error));
    put_pair(out, "    dead_letter_topic", r->dead_letter_topic);
}

static void put_single(const struct settings *s, const struct setting *t, struct str *out,
                       bool with_secrets)
{
    struct str value = {0};
    struct str masked = {0};

    value_put(s, t, &value);
    str_puts(out, " ");
    if (t->type == SETTING_SECRET && value.len > 0 && !with_secrets) {
        str_puts(out, HIDDEN);
    } else if (t->type == SETTING_CONNINFO && !with_secrets) {
        (void)conninfo_mask(str_text(&value), &masked);
        text_put_yaml(out, str_text(&masked));
    } else {
        text_put_yaml(out, str_text(&value));
    }
    str_puts(out, "\n");
    str_release(&value);
    str_release(&masked);
}

void settings_put_value(const struct settings *s, const struct setting *t, struct str *out,
                        bool with_secrets)
{
    switch (t->type) {
    case SETTING_TOPICS:
        put_topics(s, out);
        break;
    case SETTING_PROPERTIES:
        put_properties(s, out, with_secrets);
        break;
    case SETTING_ROUTES:
        str_puts(out, s->routes.count <= 1 ? " []\n" : "\n");
        for (size_t i = 1; i < s->routes.count; i++)
            put_route(&s->routes.routes[i], out);
        break;
    case SETTING_STRING:
    case SETTING_SECRET:
    case SETTING_CONNINFO:
    case SETTING_INT:
    case SETTING_SIZE:
    case SETTING_DURATION:
    case SETTING_SPAN:
    case SETTING_ENUM:
        put_single(s, t, out, with_secrets);
        break;
    }
}

/* "kafka:" when the table comes to a new section. */
static void put_section(const struct setting *t, struct str *out)
{
    size_t len = setting_section_len(t);

    if (len > 0 && setting_begins_section(t))
        str_printf(out, "%.*s:\n", (int)len, t->path);
}

static const char *indent(const struct setting *t)
{
    return setting_section_len(t) == 0 ? "" : "  ";
}

void settings_print(const struct settings *s, FILE *out)
{
    struct str text = {0};

    for (size_t i = 0; i < settings_count; i++) {
        const struct setting *t = &settings_table[i];

        put_section(t, &text);
        str_printf(&text, "%s%s:", indent(t), setting_leaf(t));
        settings_put_value(s, t, &text, false);
    }
    (void)fputs(str_text(&text), out);
    str_release(&text);
}

/* ---- the example file
 * ------------------------------------------------------------------------------------------- */

static void put_comment(const struct setting *t, const char *lines, struct str *out)
{
    while (*lines != '\0') {
        size_t len = strcspn(lines, "\n");

        str_printf(out, "%s# %.*s\n", indent(t), (int)len, lines);
        lines += len + (lines[len] == '\n');
    }
}

/* What the table says beyond the help: range, words, other ways to set it. */
static void put_facts(const struct setting *t, struct str *out)
{
    struct str line = {0};

    if (t->type == SETTING_INT)
        str_printf(&line, "From %lld to %lld. ", (long long)t->min, (long long)t->max);
    if (t->type == SETTING_SIZE || t->type == SETTING_DURATION || t->type == SETTING_SPAN) {
        void (*put)(struct str *, uint64_t) =
            t->type == SETTING_SIZE ? value_put_size : value_put_duration;

        str_puts(&line, "From ");
        put(&line, (uint64_t)t->min);
        str_puts(&line, " to ");
        put(&line, (uint64_t)t->max);
        str_puts(&line, ". ");
    }
    for (size_t i = 0; t->words != NULL && t->words[i] != NULL; i++)
        str_printf(&line, "%s%s%s", i == 0 ? "One of " : ", ",
                   t->words[i][0] == '\0' ? "\"\"" : t->words[i],
                   t->words[i + 1] == NULL ? ". " : "");
    if (setting_has_file(t))
        str_printf(&line, "Also as %s_file: the path of a file that holds it. ", setting_leaf(t));
    if (t->reloadable)
        str_puts(&line, "Read again on SIGHUP. ");
    if (line.len > 0) {
        line.data[--line.len] = '\0';
        put_comment(t, line.data, out);
    }
    str_release(&line);
}

void settings_print_example(FILE *out)
{
    static const char head[] =
        "# Configuration of outboxd: every setting with its default and meaning. Only "
        "kafka.brokers must be set.\n"
        "#\n"
        "# Sizes take B, KB, MB, GB (1000) or KiB, MiB, GiB (1024); durations take ms, s, m, h, d. "
        "${NAME} and\n"
        "# ${NAME:-default} in a value come from the environment, $$ is a dollar. `outboxd config` "
        "checks the file\n"
        "# and prints what is in force; `outboxd config --example` prints this one.\n";
    struct str text = {0};

    str_puts(&text, head);
    for (size_t i = 0; i < settings_count; i++) {
        const struct setting *t = &settings_table[i];
        const char *value = t->example == NULL ? t->def : t->example;

        str_puts(&text, "\n");
        put_section(t, &text);
        put_comment(t, t->help, &text);
        put_facts(t, &text);
        str_printf(&text, "%s%s: %s\n", indent(t), setting_leaf(t),
                   value[0] == '\0' ? "\"\"" : value);
    }
    (void)fputs(str_text(&text), out);
    str_release(&text);
}
