/* YAML text as a tree of nodes that know their places. One document of mappings, sequences and
 * scalars; anchors, aliases and tags are refused, because a value must stand where it is used.
 * Private to this folder and their tests. */
#ifndef OUTBOXD_SETTINGS_TREE_H
#define OUTBOXD_SETTINGS_TREE_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>

struct place {
    size_t line; /* from 1; 0: no particular place */
    size_t column;
};

enum node_kind { NODE_SCALAR, NODE_MAPPING, NODE_SEQUENCE };

struct node {
    enum node_kind kind;
    struct place place;
    char *key; /* of a mapping's child; NULL otherwise */
    struct place key_place;
    size_t first_line; /* of the same key in the same mapping, if it stood there before; else 0 */
    char *text;        /* of a scalar */
    bool plain;        /* the scalar has no quotes */
    struct node *children;
    size_t count;
};

/* Fills `root`, or returns -1 with "what is wrong; the way out" and its place; `root` is then
 * empty. */
NODISCARD int tree_parse(struct node *root, struct slice yaml, struct place *where,
                         struct err *err);
void tree_release(struct node *root);

/* A scalar that says nothing: empty without quotes, "~" or "null". */
bool node_is_null(const struct node *n);

/* "a mapping", "a list", "a single value", "nothing" */
const char *node_kind_name(const struct node *n);

/* The child of that key; NULL when there is none. */
const struct node *node_child(const struct node *mapping, const char *key);

#endif
