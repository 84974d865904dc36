/* A page in Markdown whose fenced blocks are run, and held against what they print.
 *
 * What a block is stands behind the language of its fence, where readers do not see it:
 *
 *   ```sh run           typed into the shell; prints what the next `output` block shows, or nothing
 *   ```sh run exit=78   the same, and ends with that code
 *   ```sh run again     repeated until it prints that: somebody looks until it is there
 *   ```text output      what the block before it prints, see output_matches
 *   ```LANG save=NAME   a file that the reader writes
 *
 * A fence without such a word is a block for readers alone. */
#ifndef OUTBOXD_TESTS_DOCUMENT_H
#define OUTBOXD_TESTS_DOCUMENT_H

#include <stdbool.h>
#include <stddef.h>

enum block_kind {
    BLOCK_PLAIN,
    BLOCK_RUN,
    BLOCK_OUTPUT,
    BLOCK_SAVE,
};

struct block {
    enum block_kind kind;
    int line; /* of the opening fence, from 1 */
    char language[16];
    char file[64]; /* BLOCK_SAVE: its name */
    int exit_code; /* BLOCK_RUN: the expected one */
    bool again;    /* BLOCK_RUN */
    char *text;    /* without the fences; each line ends with a newline */
    char *section; /* the heading it stands under, without its hashes; "" at the top */
};

struct document {
    const char *name; /* as given */
    struct block *blocks;
    size_t count;
};

/* Reads a page; `name` counts from the root of the sources and is borrowed. Fails the test when a
 * block does not end, or its fence says what cannot be understood. */
void document_read(struct document *d, const char *name);
void document_release(struct document *d);

/* Hands over each piece of code on a page: what stands between backquotes, in one line, and each
 * line of a block, fenced or indented. */
void document_each_code(const char *name, void (*take)(void *ctx, const char *code), void *ctx);

/* Whether a program printed what the page shows. Ids, times, durations and positions of a relay are
 * equal to any other of their kind; "..." stands for anything within a line, and as a line of its
 * own for any lines, also none. Blanks at the end of a line count for nothing. What a shell says of
 * a process that was killed does not count. */
bool output_matches(const char *shown, const char *printed);

#endif
