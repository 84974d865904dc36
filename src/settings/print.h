/* One setting as YAML. Private to this folder. */
#ifndef OUTBOXD_SETTINGS_PRINT_H
#define OUTBOXD_SETTINGS_PRINT_H

#include "settings/table.h"

/* Appends what stands behind "key:", with the newline. Secrets as *** unless `with_secrets`. */
void settings_put_value(const struct settings *s, const struct setting *t, struct str *out,
                        bool with_secrets);

#endif
