/* kafka.topics and kafka.properties. */
#include "settings/check.h"
#include "settings/load.h"
#include "settings/text.h"

#include <string.h>

/* ---- kafka.topics
 * -----------------------------------------------------------------------------------------------
 */

static void load_topic(struct loader *l, const struct node *n, const char *path)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-*?";
    struct str text = {0};

    if (load_text(l, n, path, "a topic's name or pattern", &text)) {
        if (text.len == 0 || text.len > 249 || strspn(text.data, allowed) != text.len)
            load_problem(
                l, n->place, path,
                "\"%.60s\" is no pattern of a topic; write 1 to 249 of a-z A-Z 0-9 . _ - and the "
                "wildcards * and ?",
                text.data);
        else
            route_table_allow(&l->s->routes, text.data);
    }
    str_release(&text);
}

void load_topics(struct loader *l, const struct node *n, const char *path)
{
    struct str item = {0};

    if (!load_children(l, n, path, NODE_SEQUENCE))
        return;
    if (n->count == 0)
        load_problem(l, n->place, path, "names no topic; write [\"*\"] for all, or remove the key");
    for (size_t i = 0; i < n->count; i++) {
        str_reset(&item);
        str_printf(&item, "%s[%zu]", path, i);
        load_topic(l, &n->children[i], item.data);
    }
    str_release(&item);
}

/* ---- kafka.properties
 * ------------------------------------------------------------------------------------------- */

static const struct kafka_property *find_property(const struct settings *s, const char *name)
{
    for (size_t i = 0; i < s->kafka.property_count; i++)
        if (strcmp(s->kafka.properties[i].name, name) == 0)
            return &s->kafka.properties[i];
    return NULL;
}

static void add_property(struct settings *s, const char *name, const char *value, bool secret)
{
    size_t count = s->kafka.property_count++;

    s->kafka.properties = xrealloc(s->kafka.properties, (count + 1) * sizeof *s->kafka.properties);
    s->kafka.properties[count] =
        (struct kafka_property){.name = xstrdup(name), .value = xstrdup(value), .secret = secret};
}

/* The value of <name>_file is the file's content. */
static bool read_value(struct loader *l, const struct node *child, const char *path, bool from_file,
                       struct str *value)
{
    struct str file = {0};
    struct err err;
    bool ok;

    if (!from_file)
        return load_text(l, child, path, "a text or number", value);
    ok = load_text(l, child, path, "the path of a file", &file);
    if (ok && text_read_secret(str_text(&file), value, &err) != 0) {
        load_problem(l, child->place, path, "%s", err.text);
        ok = false;
    }
    str_release(&file);
    return ok;
}

static void load_property(struct loader *l, const struct node *child, const char *path)
{
    size_t len = strlen(child->key);
    bool from_file = len > 5 && strcmp(child->key + len - 5, "_file") == 0;
    struct str name = {0};
    struct str value = {0};
    struct err err;

    str_put(&name, child->key, from_file ? len - 5 : len);
    if (name.len == 0)
        load_problem(l, child->key_place, path, "has no name; write property: value");
    else if (find_property(l->s, name.data) != NULL)
        load_problem(l, child->key_place, path, "%.60s is given already; remove one of the two",
                     name.data);
    else if (read_value(l, child, path, from_file, &value)) {
        if (check_property(name.data, str_text(&value), &err) != 0)
            load_problem(l, child->key_place, path, "%s", err.text);
        else
            add_property(l->s, name.data, str_text(&value),
                         from_file || property_is_secret(name.data));
    }
    str_release(&name);
    str_release(&value);
}

void load_properties(struct loader *l, const struct node *n, const char *path)
{
    struct str item = {0};

    if (!load_children(l, n, path, NODE_MAPPING))
        return;
    for (size_t i = 0; i < n->count; i++) {
        str_reset(&item);
        str_printf(&item, "%s.%s", path, n->children[i].key);
        if (n->children[i].first_line == 0)
            load_property(l, &n->children[i], item.data);
    }
    str_release(&item);
}
