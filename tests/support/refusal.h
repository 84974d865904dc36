/* What the program says to input that it cannot accept: exit code, one line of error, no secret. */
#ifndef OUTBOXD_TESTS_REFUSAL_H
#define OUTBOXD_TESTS_REFUSAL_H

#include "outboxd.h"

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* The one secret of these tests: it may be in a configuration, and never in an output. */
#define SECRET "S3cret-Pw"

/* Runs `outboxd words[0] -c config words[1] ...`, which must end with that code, and whose output
 * must end with one line "outboxd: ...", the only one of this kind, that holds all parts. Both
 * lists end with NULL. */
void outboxd_refuses(const struct outboxd *o, int code, const char *const *words,
                     const char *const *parts);

/* The same with a command line that is complete, without -c. */
void outboxd_refuses_bare(int code, const char *const *words, const char *const *parts);

/* Must end with 0, and the output hold the part. Returns the output, good until the next call of
 * these functions. */
const char *outboxd_succeeds(const struct outboxd *o, const char *const *words, const char *part);

/* Runs `outboxd words ...` and returns its exit code; both outputs in the file. */
int outboxd_bare(const char *const *words, char file[PATH_SIZE]);

/* The program runs, and SIGTERM ends it with 0 within two seconds. */
void outboxd_stops_at_once(struct outboxd *o);

/* `outboxd run` by a user who may read only what everybody may: as root, who reads everything, a
 * copy of the program runs as nobody. */
void outboxd_refuses_nobody(int code, const char *config, const char *const *parts);

#endif
