/* Sorts any number of small entries in a fixed amount of memory: they are collected, sorted a
 * memory full at a time, written to temporary files that have no name, and merged.
 *
 * An entry is a row of bytes of fixed size, and the order is that of memcmp: numbers in it must be
 * written with their highest byte first (verify/entry.h does). */
#ifndef OUTBOXD_VERIFY_SORTER_H
#define OUTBOXD_VERIFY_SORTER_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

struct sorter;

struct sorter_params {
    size_t entry_bytes;
    size_t memory_bytes; /* for the entries; qsort(3) takes half as much again for a moment */
    const char *folder;  /* of the temporary files; borrowed */
};

struct sorter *sorter_new(const struct sorter_params *params);
void sorter_free(struct sorter *s); /* NULL is harmless */

/* Fails when a temporary file cannot be written (ERR_SOFTWARE, the text says where). */
NODISCARD int sorter_put(struct sorter *s, const void *entry, struct err *err);

/* No more entries come. Then sorter_next gives one after the other in ascending order: 1 with the
 * entry, which is lent until the next call, 0 at the end, -1 with `err`. */
NODISCARD int sorter_finish(struct sorter *s, struct err *err);
NODISCARD int sorter_next(struct sorter *s, const unsigned char **entry, struct err *err);

int64_t sorter_count(const struct sorter *s);         /* entries put */
int64_t sorter_spilled_bytes(const struct sorter *s); /* written to files, merges included */

#endif
