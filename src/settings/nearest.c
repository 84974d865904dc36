#include "settings/nearest.h"

#include <string.h>

#define WORD_MAX 64 /* longer words get no suggestion */

static size_t min(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Edit distance with neighbours swapped counted as one (optimal string alignment), three rows of
 * the table at a time. */
static size_t distance(const char *a, const char *b)
{
    size_t rows[3][WORD_MAX + 1];
    size_t *before = rows[0];
    size_t *last = rows[1];
    size_t *row = rows[2];
    size_t a_len = strlen(a);
    size_t b_len = strlen(b);

    for (size_t j = 0; j <= b_len; j++)
        last[j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        size_t *spare = before;

        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            row[j] = min(last[j], row[j - 1]) + 1;
            row[j] = min(row[j], last[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = min(row[j], before[j - 2] + 1);
        }
        before = last;
        last = row;
        row = spare;
    }
    return last[b_len];
}

struct nearest nearest_to(const char *word)
{
    return (struct nearest){.word = word};
}

void nearest_try(struct nearest *n, const char *candidate)
{
    size_t d;

    if (strlen(n->word) > WORD_MAX || strlen(candidate) > WORD_MAX)
        return;
    d = distance(n->word, candidate);
    if (n->best == NULL || d < n->distance) {
        n->best = candidate;
        n->distance = d;
    }
}

const char *nearest_word(const struct nearest *n)
{
    if (n->best == NULL || n->distance > (strlen(n->word) + 2) / 3)
        return NULL;
    return n->best;
}
