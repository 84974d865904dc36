/* From the file to struct settings: defaults first, then what the file says, then what must hold
 * across settings. */
#include "settings/load.h"

#include "settings/check.h"
#include "settings/text.h"
#include "settings/value.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_MAX_BYTES ((size_t)1024 * 1024)
#define NO_FILE                                                                                    \
    "does not exist; name the configuration with -c FILE, or write one (outboxd config --example " \
    "prints a start)"

/* ---- problems
 * ---------------------------------------------------------------------------------------------------
 */

void settings_problems_release(struct settings_problems *p)
{
    for (size_t i = 0; i < p->count; i++)
        free(p->text[i]);
    *p = (struct settings_problems){0};
}

void load_problem(struct loader *l, struct place at, const char *path, const char *fmt, ...)
{
    struct settings_problems *p = l->problems;
    struct str what = {0};
    struct err line;
    va_list ap;

    if (p->count == SETTINGS_PROBLEMS) {
        p->unlisted++;
        return;
    }
    va_start(ap, fmt);
    str_vprintf(&what, fmt, ap);
    va_end(ap);
    (void)err_set(&line, ERR_CONFIG, "%.100s%s%s", path, path[0] == '\0' ? "" : ": ",
                  str_text(&what));
    str_release(&what);
    if (at.line == 0)
        (void)err_wrap(&line, "%.300s", l->name);
    else
        (void)err_wrap(&line, "%.300s:%zu:%zu", l->name, at.line, at.column);
    for (char *c = line.text; *c != '\0'; c++) /* the text may end up on a terminal */
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '?';
    p->text[p->count++] = xstrdup(line.text);
}

void load_unknown_key(struct loader *l, const struct node *child, const char *path,
                      const struct nearest *near, const char *known)
{
    const char *word = nearest_word(near);

    if (word != NULL)
        load_problem(l, child->key_place, path, "unknown key; did you mean \"%s\"?", word);
    else
        load_problem(l, child->key_place, path, "unknown key; known here: %s", known);
}

/* ---- nodes
 * ------------------------------------------------------------------------------------------------------
 */

void load_set_string(char **member, const char *text)
{
    free(*member);
    *member = xstrdup(text);
}

bool load_text(struct loader *l, const struct node *n, const char *path, const char *wanted,
               struct str *out)
{
    struct err err;

    str_reset(out);
    if (node_is_null(n))
        load_problem(l, n->place, path, "has no value; write %s, or remove the key", wanted);
    else if (n->kind != NODE_SCALAR)
        load_problem(l, n->place, path, "is %s; write %s", node_kind_name(n), wanted);
    else if (text_expand(n->text, out, &err) != 0)
        load_problem(l, n->place, path, "%s", err.text);
    else
        return true;
    return false;
}

bool load_children(struct loader *l, const struct node *n, const char *path, enum node_kind kind)
{
    if (node_is_null(n))
        return true;
    if (n->kind != kind) {
        load_problem(l, n->place, path, "is %s; write %s", node_kind_name(n),
                     kind == NODE_MAPPING ? "a mapping (key: value, indented)"
                                          : "a list ([a, b], or lines of - a)");
        return false;
    }
    for (size_t i = 0; i < n->count; i++)
        if (n->children[i].first_line != 0)
            load_problem(l, n->children[i].key_place, path,
                         "the key \"%.60s\" stands here twice, first in line %zu; remove one",
                         n->children[i].key, n->children[i].first_line);
    return true;
}

/* ---- settings that are single values
 * ---------------------------------------------------------------------------- */

static const char *wanted(const struct setting *t)
{
    switch (t->type) {
    case SETTING_INT:
        return "a whole number";
    case SETTING_SIZE:
        return "a size such as 32MiB";
    case SETTING_DURATION:
    case SETTING_SPAN:
        return "a duration such as 10s";
    case SETTING_ENUM:
        return "a word";
    default:
        return "a text";
    }
}

/* False, with a problem, when the setting was given before under its other name (x and x_file). */
static bool is_given_once(struct loader *l, const struct setting *t, const struct node *child,
                          const char *path)
{
    struct place *given = &l->given[t - settings_table];

    if (given->line != 0) {
        load_problem(l, child->key_place, path,
                     "%s is given in line %zu already; remove one of the two", t->path,
                     given->line);
        return false;
    }
    *given = child->key_place;
    return true;
}

static void load_setting(struct loader *l, const struct setting *t, const struct node *child,
                         const char *path)
{
    struct str text = {0};
    struct err err;

    if (!is_given_once(l, t, child, path))
        return;
    if (t->type == SETTING_TOPICS)
        load_topics(l, child, path);
    else if (t->type == SETTING_PROPERTIES)
        load_properties(l, child, path);
    else if (t->type == SETTING_ROUTES)
        load_routes(l, child, path);
    else if (load_text(l, child, path, wanted(t), &text) &&
             value_store(l->s, t, str_text(&text), &err) != 0)
        load_problem(l, child->place, path, "%s", err.text);
    str_release(&text);
}

/* The setting that is meant by <path>_file, or NULL. */
static const struct setting *find_by_file(const char *path)
{
    size_t len = strlen(path);
    const struct setting *t;
    char *stem;

    if (len <= 5 || strcmp(path + len - 5, "_file") != 0)
        return NULL;
    stem = xstrndup(path, len - 5);
    t = setting_find(stem);
    free(stem);
    return t != NULL && setting_has_file(t) ? t : NULL;
}

static void load_file(struct loader *l, const struct setting *t, const struct node *child,
                      const char *path)
{
    struct str name = {0};
    struct str secret = {0};
    struct err err;

    if (!is_given_once(l, t, child, path) ||
        !load_text(l, child, path, "the path of a file", &name))
        goto out;
    if (text_read_secret(str_text(&name), &secret, &err) != 0 ||
        value_store(l->s, t, str_text(&secret), &err) != 0)
        load_problem(l, child->place, path, "%s", err.text);
out:
    str_release(&name);
    str_release(&secret);
}

/* ---- sections
 * ---------------------------------------------------------------------------------------------------
 */

/* Is there a key of this name in another section? Its path, or NULL. */
static const char *find_elsewhere(const char *leaf)
{
    for (size_t i = 0; i < settings_count; i++)
        if (strcmp(setting_leaf(&settings_table[i]), leaf) == 0)
            return settings_table[i].path;
    return NULL;
}

/* The words that may stand in a section, or at the top level (""): keys and, there, names of
 * sections. They are the caller's to free. */
static size_t names_within(const char *section, char *names[SETTINGS_MAX])
{
    size_t len = strlen(section);
    size_t count = 0;

    for (size_t i = 0; i < settings_count; i++) {
        const struct setting *t = &settings_table[i];
        size_t own = setting_section_len(t);
        char *name = NULL;

        if (own == len && strncmp(t->path, section, len) == 0)
            name = xstrdup(setting_leaf(t));
        else if (len == 0)
            name = xstrndup(t->path, own);
        if (name != NULL && (count == 0 || strcmp(names[count - 1], name) != 0))
            names[count++] = name;
        else
            free(name);
    }
    return count;
}

static void load_unknown(struct loader *l, const struct node *child, const char *section,
                         const char *path)
{
    struct nearest near = nearest_to(child->key);
    const char *elsewhere = find_elsewhere(child->key);
    char *names[SETTINGS_MAX];
    size_t count = names_within(section, names);
    struct str known = {0};

    for (size_t i = 0; i < count; i++) {
        nearest_try(&near, names[i]);
        str_printf(&known, "%s%s", i == 0 ? "" : ", ", names[i]);
    }
    if (nearest_word(&near) == NULL && elsewhere != NULL)
        load_problem(l, child->key_place, path, "unknown key; did you mean %s?", elsewhere);
    else
        load_unknown_key(l, child, path, &near, str_text(&known));
    for (size_t i = 0; i < count; i++)
        free(names[i]);
    str_release(&known);
}

/* `section` "" is the top level; sections have no sections within. */
static void load_section(struct loader *l, const struct node *n, const char *section)
{
    struct str path = {0};

    if (!load_children(l, n, section, NODE_MAPPING))
        return;
    for (size_t i = 0; i < n->count; i++) {
        const struct node *child = &n->children[i];
        const struct setting *t;

        if (child->first_line != 0)
            continue;
        str_reset(&path);
        str_printf(&path, "%s%s%s", section, section[0] == '\0' ? "" : ".", child->key);
        t = setting_find(path.data);
        if (strchr(child->key, '.') != NULL)
            load_problem(l, child->key_place, path.data,
                         "unknown key; a dot opens no section, indent the key below its section");
        else if (t != NULL)
            load_setting(l, t, child, path.data);
        else if (find_by_file(path.data) != NULL)
            load_file(l, find_by_file(path.data), child, path.data);
        else if (section[0] == '\0' && setting_is_section(child->key))
            load_section(l, child, child->key);
        else
            load_unknown(l, child, section, path.data);
    }
    str_release(&path);
}

/* ---- across settings
 * -------------------------------------------------------------------------------------------- */

/* What is missing is told at its section, if there is one. */
static void check_required(struct loader *l, const struct node *root)
{
    for (size_t i = 0; i < settings_count; i++) {
        const struct setting *t = &settings_table[i];
        char *section = xstrndup(t->path, setting_section_len(t));
        const struct node *n = node_child(root, section);
        struct place at = {0};

        if (n != NULL)
            at = n->key_place;
        if (t->def == NULL && t->type == SETTING_STRING && l->given[i].line == 0)
            load_problem(l, at, t->path, "is required; write %s: {%s: \"%s\"}", section,
                         setting_leaf(t), t->example);
        free(section);
    }
}

static void check_password(struct loader *l)
{
    const struct setting *t = setting_find("postgres.password");
    struct str masked = {0};

    if (conninfo_mask(l->s->postgres.url, &masked) && l->s->postgres.password[0] != '\0')
        load_problem(l, l->given[t - settings_table], t->path,
                     "the url holds a password already; remove one of the two");
    str_release(&masked);
}

static void load_tree(struct loader *l, const struct node *root)
{
    const struct node *routes;

    if (node_is_null(root)) {
        load_problem(l, (struct place){0}, "", "is empty; at least kafka.brokers must be set");
        return;
    }
    load_section(l, root, "");
    if (root->kind != NODE_MAPPING)
        return;
    check_required(l, root);
    check_password(l);
    routes = node_child(root, "routes");
    if (routes != NULL && l->problems->count == 0)
        load_check_routes(l, routes);
}

/* ---- the public side
 * -------------------------------------------------------------------------------------------- */

void settings_init(struct settings *s)
{
    *s = (struct settings){0};
    route_table_init(&s->routes);
    s->kafka.brokers = xstrdup("");
    for (size_t i = 0; i < settings_count; i++) {
        const struct setting *t = &settings_table[i];
        struct str text = {0};
        struct err err;

        if (t->def != NULL && (text_expand(t->def, &text, &err) != 0 ||
                               value_store(s, t, str_text(&text), &err) != 0)) {
            /* only a strange HOSTNAME in the environment can do that */
            load_set_string((char **)(void *)((char *)s + t->offset), "unnamed");
        }
        str_release(&text);
    }
}

void settings_release(struct settings *s)
{
    free(s->postgres.url);
    free(s->postgres.password);
    free(s->kafka.brokers);
    for (size_t i = 0; i < s->kafka.property_count; i++) {
        free(s->kafka.properties[i].name);
        free(s->kafka.properties[i].value);
    }
    free(s->kafka.properties);
    free(s->relay.name);
    free(s->relay.instance);
    free(s->http.listen);
    route_table_release(&s->routes);
    *s = (struct settings){0};
}

/* The verdict: nothing found, or the first problem and how many more there are. */
static int conclude(struct loader *l, struct settings_problems *listing, struct err *err)
{
    struct settings_problems *p = l->problems;
    size_t more = p->count == 0 ? 0 : p->count - 1 + p->unlisted;
    int rc = 0;

    if (p->count > 0) {
        rc = more == 0 ? err_problem(err, ERR_CONFIG, PROBLEM_CONFIGURATION, "%s", p->text[0])
                       : err_problem(err, ERR_CONFIG, PROBLEM_CONFIGURATION,
                                     "%.700s (and %zu more)", p->text[0], more);
        settings_release(l->s);
        settings_init(l->s);
    }
    if (listing != NULL)
        *listing = *p;
    else
        settings_problems_release(p);
    return rc;
}

int settings_parse(struct settings *s, struct slice text, const char *name,
                   struct settings_problems *problems, struct err *err)
{
    struct settings_problems found = {0};
    struct loader l = {.s = s, .name = name, .problems = &found};
    struct place where = {0};
    struct err why;
    struct node root;

    settings_init(s);
    if (tree_parse(&root, text, &where, &why) != 0) {
        load_problem(&l, where, "", "%s", why.text);
    } else {
        load_tree(&l, &root);
        tree_release(&root);
    }
    return conclude(&l, problems, err);
}

int settings_load_listing(struct settings *s, const char *path, struct settings_problems *problems,
                          struct err *err)
{
    struct settings_problems found = {0};
    struct loader l = {.s = s, .name = path, .problems = &found};
    struct str text = {0};
    struct err why;
    int rc;

    if (text_read_file(path, FILE_MAX_BYTES, &text, &why) != 0) {
        bool missing = access(path, F_OK) != 0 && errno == ENOENT;

        settings_init(s);
        load_problem(&l, (struct place){0}, "", "%s", missing ? NO_FILE : why.text);
        rc = conclude(&l, problems, err);
    } else {
        rc = settings_parse(s, str_slice(&text), path, problems, err);
    }
    str_release(&text);
    return rc;
}

int settings_load(struct settings *s, const char *path, struct err *err)
{
    return settings_load_listing(s, path, NULL, err);
}
