/* What must hold of a value beyond its type: `check` functions of the settings table, and the
 * properties that may not be changed. Each returns -1 with "what is wrong; the way out". Private to
 * this folder and their tests. */
#ifndef OUTBOXD_SETTINGS_CHECK_H
#define OUTBOXD_SETTINGS_CHECK_H

#include "base/err.h"

#include <stdbool.h>

/* A libpq URL or key=value string, or empty. Its text is not repeated in the error: a password may
 * be in it. */
NODISCARD int check_conninfo(const char *value, struct err *err);

/* host[:port], several separated by commas; IPv6 addresses in brackets. */
NODISCARD int check_brokers(const char *value, struct err *err);

/* address:port, IPv6 addresses in brackets; or empty. */
NODISCARD int check_listen(const char *value, struct err *err);

/* 1 to 63 of [a-zA-Z0-9._-]: names that stand in log lines, metrics and SQL. */
NODISCARD int check_name(const char *value, struct err *err);

/* 1 to 255 bytes without control characters. */
NODISCARD int check_instance(const char *value, struct err *err);

/* A property that librdkafka does not know, whose value it refuses, or that would weaken what
 * outboxd promises. */
NODISCARD int check_property(const char *name, const char *value, struct err *err);

/* How libpq would take the string: as a URL, or (this one is true for "" too) as key=value pairs.
 */
bool conninfo_is_url(const char *conninfo);
bool conninfo_has_pairs(const char *conninfo);

/* Whether the property's value must never be shown. */
bool property_is_secret(const char *name);

#endif
