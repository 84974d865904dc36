/* What the parts of the loader share: the settings under way, where they were given, and the list
 * of problems. Private to this folder. */
#ifndef OUTBOXD_SETTINGS_LOAD_H
#define OUTBOXD_SETTINGS_LOAD_H

#include "settings/nearest.h"
#include "settings/table.h"
#include "settings/tree.h"

struct loader {
    struct settings *s;
    const char *name; /* of the file */
    struct settings_problems *problems;
    struct place
        given[SETTINGS_MAX]; /* where each setting of the table was given; line 0: it was not */
};

/* Adds "file:line:column: path: ..." to the problems; the format gives "what is wrong; the way
 * out". */
void load_problem(struct loader *l, struct place at, const char *path, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

/* The scalar's text with the environment in it, in `out` (reset first). False, with a problem
 * added, when the node is no scalar (`wanted` tells what it should be), says nothing, or names a
 * variable that is not set. */
bool load_text(struct loader *l, const struct node *n, const char *path, const char *wanted,
               struct str *out);

/* Whether the node is of that kind, else a problem is added. A node that says nothing passes as an
 * empty one. Keys that stand there twice are problems too; the caller passes over the later ones
 * (first_line). */
bool load_children(struct loader *l, const struct node *n, const char *path, enum node_kind kind);

/* The problem of a key that nobody knows. `known`: those that could stand there, separated by ", ".
 */
void load_unknown_key(struct loader *l, const struct node *child, const char *path,
                      const struct nearest *near, const char *known);

/* Frees the string and puts a copy of the text there. */
void load_set_string(char **member, const char *text);

/* The settings that are no single values (settings/kafka.c, settings/routes.c). */
void load_topics(struct loader *l, const struct node *n, const char *path);
void load_properties(struct loader *l, const struct node *n, const char *path);
void load_routes(struct loader *l, const struct node *n, const char *path);

/* Once everything is loaded without a problem: do the routes write to topics that kafka.topics
 * allows? */
void load_check_routes(struct loader *l, const struct node *routes);

#endif
