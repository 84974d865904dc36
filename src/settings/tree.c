/* Reads libyaml's events into nodes. How it can fail: not YAML or not UTF-8 (libyaml says where),
 * or YAML beyond what a configuration needs: several documents, anchors, tags, keys that are no
 * scalars, endless nesting. */
#include "settings/tree.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define DEPTH_MAX 16
#define NODES_MAX 10000

struct reader {
    yaml_parser_t parser;
    struct slice yaml;
    size_t nodes;
    struct place *where;
    struct err *err;
};

static struct place place_of(yaml_mark_t mark)
{
    return (struct place){.line = mark.line + 1, .column = mark.column + 1};
}

/* Place of a byte, for errors below the level of characters. */
static struct place place_of_byte(struct slice yaml, size_t offset)
{
    struct place at = {.line = 1, .column = 1};

    for (size_t i = 0; i < offset && i < yaml.len; i++) {
        if (yaml.ptr[i] == '\n')
            at = (struct place){.line = at.line + 1, .column = 1};
        else if (((unsigned char)yaml.ptr[i] & 0xc0) != 0x80)
            at.column++;
    }
    return at;
}

/* Whether a tab is among the blanks that the line starts with; *column is then its place. */
static bool line_is_tabbed(struct slice yaml, size_t line, size_t *column)
{
    const char *p = yaml.ptr;
    const char *end = yaml.ptr + yaml.len;

    for (size_t i = 1; i < line && p != NULL; i++) {
        p = memchr(p, '\n', (size_t)(end - p));
        p = p == NULL ? NULL : p + 1;
    }
    if (p == NULL)
        return false;
    for (const char *start = p; p < end && (*p == ' ' || *p == '\t'); p++)
        if (*p == '\t') {
            *column = (size_t)(p - start) + 1;
            return true;
        }
    return false;
}

static int syntax_error(struct reader *r)
{
    const yaml_parser_t *p = &r->parser;
    const char *problem = p->problem == NULL ? "unknown problem" : p->problem;
    size_t column = 0;

    if (p->error == YAML_MEMORY_ERROR)
        return err_set(r->err, ERR_SOFTWARE, "out of memory");
    if (p->error == YAML_READER_ERROR) {
        *r->where = place_of_byte(r->yaml, p->problem_offset);
        return err_set(r->err, ERR_CONFIG, "is no UTF-8 text: %s; save the file as UTF-8", problem);
    }
    *r->where = place_of(p->problem_mark);
    if (line_is_tabbed(r->yaml, r->where->line, &column)) {
        r->where->column = column;
        return err_set(r->err, ERR_CONFIG, "a tab; indent by spaces, YAML allows no tabs there");
    }
    return err_set(
        r->err, ERR_CONFIG,
        "is not YAML: %s%s%s; check indentation, colons, brackets and quotes around here", problem,
        p->context == NULL ? "" : " ", p->context == NULL ? "" : p->context);
}

static int refuse(struct reader *r, yaml_mark_t mark, const char *what)
{
    *r->where = place_of(mark);
    return err_set(r->err, ERR_CONFIG, "%s", what);
}

static int next_event(struct reader *r, yaml_event_t *event)
{
    const yaml_char_t *anchor = NULL;
    const yaml_char_t *tag = NULL;
    int rc = 0;

    if (yaml_parser_parse(&r->parser, event) == 0)
        return syntax_error(r);
    if (event->type == YAML_SCALAR_EVENT) {
        anchor = event->data.scalar.anchor;
        tag = event->data.scalar.tag;
    } else if (event->type == YAML_MAPPING_START_EVENT) {
        anchor = event->data.mapping_start.anchor;
        tag = event->data.mapping_start.tag;
    } else if (event->type == YAML_SEQUENCE_START_EVENT) {
        anchor = event->data.sequence_start.anchor;
        tag = event->data.sequence_start.tag;
    }
    if (anchor != NULL || event->type == YAML_ALIAS_EVENT)
        rc = refuse(r, event->start_mark,
                    "anchors (&name) and aliases (*name) are not supported; write the value out, "
                    "or quote a text "
                    "that starts with & or *");
    else if (tag != NULL)
        rc =
            refuse(r, event->start_mark,
                   "tags (!name) are not supported; remove it, or quote a text that starts with !");
    if (rc != 0)
        yaml_event_delete(event);
    return rc;
}

/* The scalar's text, owned by the caller; NULL with the error filled. */
static char *take_text(struct reader *r, const yaml_event_t *event)
{
    const char *value = (const char *)event->data.scalar.value;
    size_t len = event->data.scalar.length;

    if (memchr(value, '\0', len) != NULL) {
        (void)refuse(r, event->start_mark, "holds a NUL character; remove it");
        return NULL;
    }
    return xstrndup(value, len);
}

/* The key of the mapping's last child. */
static int read_key(struct reader *r, const yaml_event_t *event, struct node *mapping)
{
    struct node *child = &mapping->children[mapping->count - 1];

    if (event->type != YAML_SCALAR_EVENT)
        return refuse(r, event->start_mark,
                      "a key must be a single word; check brackets and braces");
    child->key = take_text(r, event);
    child->key_place = place_of(event->start_mark);
    if (child->key == NULL)
        return -1;
    for (size_t i = 0; i + 1 < mapping->count && child->first_line == 0; i++)
        if (strcmp(mapping->children[i].key, child->key) == 0)
            child->first_line = mapping->children[i].key_place.line;
    return 0;
}

static int read_node(struct reader *r, const yaml_event_t *event, struct node *n, int depth);

static struct node *add_child(struct node *n)
{
    /* doubled whenever the count is a power of two */
    if ((n->count & (n->count - 1)) == 0)
        n->children =
            xrealloc(n->children, (n->count == 0 ? 1 : 2 * n->count) * sizeof *n->children);
    n->children[n->count] = (struct node){.kind = NODE_SCALAR};
    return &n->children[n->count++];
}

static int read_children(struct reader *r, struct node *n, int depth)
{
    yaml_event_type_t end =
        n->kind == NODE_MAPPING ? YAML_MAPPING_END_EVENT : YAML_SEQUENCE_END_EVENT;
    yaml_event_t event;

    for (;;) {
        struct node *child;
        bool done;
        int rc = 0;

        if (next_event(r, &event) != 0)
            return -1;
        done = event.type == end;
        if (!done) {
            child = add_child(n);
            if (n->kind == NODE_MAPPING) {
                rc = read_key(r, &event, n);
                yaml_event_delete(&event);
                if (rc != 0 || next_event(r, &event) != 0)
                    return -1;
            }
            rc = read_node(r, &event, child, depth + 1);
        }
        yaml_event_delete(&event);
        if (done || rc != 0)
            return rc;
    }
}

/* The recursion ends at DEPTH_MAX. */
static int read_node(struct reader *r, const yaml_event_t *event, struct node *n, int depth)
{
    n->place = place_of(event->start_mark);
    if (depth > DEPTH_MAX || ++r->nodes > NODES_MAX)
        return refuse(r, event->start_mark,
                      "is too large or nested too deeply; no configuration needs that");
    if (event->type == YAML_SCALAR_EVENT) {
        n->kind = NODE_SCALAR;
        n->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
        n->text = take_text(r, event);
        return n->text == NULL ? -1 : 0;
    }
    n->kind = event->type == YAML_MAPPING_START_EVENT ? NODE_MAPPING : NODE_SEQUENCE;
    return read_children(r, n, depth);
}

static int read_document(struct reader *r, struct node *root)
{
    yaml_event_t event;
    bool empty;
    int rc = 0;

    *r->where = (struct place){0};
    /* stream start, document start, the root node, document end, stream end */
    for (int i = 0; i < 2; i++) {
        if (next_event(r, &event) != 0)
            return -1;
        empty = event.type == YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
        if (empty)
            return err_set(r->err, ERR_CONFIG, "is empty; at least kafka.brokers must be set");
    }
    if (next_event(r, &event) != 0)
        return -1;
    rc = read_node(r, &event, root, 0);
    yaml_event_delete(&event);
    for (int i = 0; i < 2 && rc == 0; i++) {
        if (next_event(r, &event) != 0)
            return -1;
        if (event.type == YAML_DOCUMENT_START_EVENT)
            rc = refuse(r, event.start_mark, "a second document starts; keep one per file");
        yaml_event_delete(&event);
    }
    return rc;
}

int tree_parse(struct node *root, struct slice yaml, struct place *where, struct err *err)
{
    struct reader r = {.yaml = yaml, .where = where, .err = err};
    int rc;

    *root = (struct node){.kind = NODE_SCALAR};
    if (yaml_parser_initialize(&r.parser) == 0)
        return err_set(err, ERR_SOFTWARE, "out of memory");
    /* libyaml would also guess at UTF-16 */
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)yaml.ptr, yaml.len);
    rc = read_document(&r, root);
    yaml_parser_delete(&r.parser);
    if (rc != 0)
        tree_release(root);
    return rc;
}

void tree_release(struct node *root)
{
    for (size_t i = 0; i < root->count; i++)
        tree_release(&root->children[i]);
    free(root->children);
    free(root->key);
    free(root->text);
    *root = (struct node){.kind = NODE_SCALAR};
}

bool node_is_null(const struct node *n)
{
    return n->kind == NODE_SCALAR && n->plain &&
           (n->text[0] == '\0' || strcmp(n->text, "~") == 0 || strcmp(n->text, "null") == 0);
}

const char *node_kind_name(const struct node *n)
{
    if (node_is_null(n))
        return "nothing";
    if (n->kind == NODE_SCALAR)
        return "a single value";
    return n->kind == NODE_MAPPING ? "a mapping" : "a list";
}

const struct node *node_child(const struct node *mapping, const char *key)
{
    for (size_t i = 0; i < mapping->count; i++)
        if (mapping->children[i].key != NULL && strcmp(mapping->children[i].key, key) == 0)
            return &mapping->children[i];
    return NULL;
}
