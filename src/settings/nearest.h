/* "Did you mean ...": the known word that is nearest to a mistyped one. */
#ifndef OUTBOXD_SETTINGS_NEAREST_H
#define OUTBOXD_SETTINGS_NEAREST_H

#include <stddef.h>

/* Start with nearest_to(word), offer every known word to nearest_try, then ask nearest_word. Words
 * are borrowed. */
struct nearest {
    const char *word;
    const char *best;
    size_t distance;
};

struct nearest nearest_to(const char *word);
void nearest_try(struct nearest *n, const char *candidate);

/* The nearest candidate, or NULL when none is near enough to be a likely slip: about one letter in
 * three may be wrong, missing, too many or swapped with its neighbour. */
const char *nearest_word(const struct nearest *n);

#endif
