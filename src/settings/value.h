/* Single values: from text by a setting's type, and back. Private to this folder and their
 * tests. */
#ifndef OUTBOXD_SETTINGS_VALUE_H
#define OUTBOXD_SETTINGS_VALUE_H

#include "settings/table.h"

/* Stores `text` in the setting's member, unless it is out of place there: -1 with "what is wrong;
 * the way out". Only for the types that are one scalar. Secrets are not repeated in the text. */
NODISCARD int value_store(struct settings *s, const struct setting *t, const char *text,
                          struct err *err);

/* Appends the value as it could stand in the file, but not yet quoted; secrets as they are. */
void value_put(const struct settings *s, const struct setting *t, struct str *out);

/* A duration with its unit, within the range; -1 with the same kind of text. */
NODISCARD int value_parse_duration(const char *text, uint32_t min_ms, uint32_t max_ms,
                                   uint32_t *out_ms, struct err *err);

/* "32MiB" for 33554432 bytes, "1500ms" for 1500 milliseconds: the largest unit that leaves a whole
 * number. */
void value_put_size(struct str *out, uint64_t bytes);
void value_put_duration(struct str *out, uint64_t ms);

#endif
