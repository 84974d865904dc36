/* Names (topics, event types) as small numbers, in the order of their first appearance. */
#ifndef OUTBOXD_VERIFY_NAMES_H
#define OUTBOXD_VERIFY_NAMES_H

#include "base/str.h"

#include <stdint.h>

#define NAMES_MAX 65534 /* the last numbers are left for "none" */

struct names {
    char **text; /* by number */
    size_t count;
    size_t limit;    /* of count; at most NAMES_MAX */
    uint32_t *slots; /* a hash table of numbers + 1; 0: free */
    size_t slot_count;
};

void names_init(struct names *n, size_t limit);
void names_release(struct names *n);

/* The name's number, a new one if need be; -1 when it is new and there is no room. */
int32_t names_number(struct names *n, struct slice name);

#endif
