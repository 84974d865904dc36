/* Text on its way into a setting and out of it: the environment, files with secrets, YAML quotes.
 * Private to this folder and their tests. */
#ifndef OUTBOXD_SETTINGS_TEXT_H
#define OUTBOXD_SETTINGS_TEXT_H

#include "base/err.h"
#include "base/str.h"

/* Appends `text` with ${NAME} and ${NAME:-default} replaced from the environment, and $$ by one
 * dollar. HOSTNAME is the host's name where the environment has none. -1 with "what is wrong; the
 * way out": a variable that is not set and has no default, a lone dollar, a value that is no UTF-8.
 * Values are not replaced again. */
NODISCARD int text_expand(const char *text, struct str *out, struct err *err);

/* Puts the file's bytes to `out`. -1 when it cannot be read, is a directory, or has more than
 * `max_bytes`. */
NODISCARD int text_read_file(const char *path, size_t max_bytes, struct str *out, struct err *err);

/* The same for a file that holds one secret: the newline at its end is cut; an empty one is an
 * error. */
NODISCARD int text_read_secret(const char *path, struct str *out, struct err *err);

/* Appends `text` as a YAML scalar that text_expand and the parser turn into `text` again: dollars
 * doubled, quoted and escaped where it must be. The bytes are UTF-8. */
void text_put_yaml(struct str *out, const char *text);

/* The same for a key, in which dollars stand for themselves. */
void text_put_key(struct str *out, const char *text);

#endif
