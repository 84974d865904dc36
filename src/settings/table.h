/* The one table of settings. Private to this folder and their tests. */
#ifndef OUTBOXD_SETTINGS_TABLE_H
#define OUTBOXD_SETTINGS_TABLE_H

#include "settings/settings.h"

enum setting_type {
    SETTING_STRING,
    SETTING_SECRET,     /* also as <path>_file; printed as *** */
    SETTING_CONNINFO,   /* also as <path>_file; a password may be inside */
    SETTING_INT,        /* uint32_t */
    SETTING_SIZE,       /* size_t, bytes */
    SETTING_DURATION,   /* uint32_t, milliseconds */
    SETTING_SPAN,       /* int64_t, milliseconds: for what lasts months */
    SETTING_ENUM,       /* an enum whose values count from 0 */
    SETTING_TOPICS,     /* kafka.topics */
    SETTING_PROPERTIES, /* kafka.properties */
    SETTING_ROUTES,     /* routes */
};

struct setting {
    const char *path; /* "section.key" or "key" */
    enum setting_type type;
    size_t offset; /* of the member in struct settings; not for the last three types */
    const char
        *def; /* as it would stand in the file; NULL: required, or empty for the last three types */
    const char
        *example; /* stands in the example file instead of the default; NULL: the default does */
    int64_t min;  /* INT, SIZE, DURATION, SPAN: the range, both ends included */
    int64_t max;
    const char *const *words; /* ENUM: names by value, NULL-terminated */
    /* STRING, CONNINFO: what else must hold; `err` gets "what is wrong; the way out". NULL: any
     * text will do. */
    int (*check)(const char *value, struct err *err);
    bool reloadable;
    const char *help; /* lines of the example file's comment */
};

extern const struct setting settings_table[];
extern const size_t settings_count;

/* By exact path; NULL when there is none. */
const struct setting *setting_find(const char *path);

/* Whether `path` is the name of a section, such as "kafka". */
bool setting_is_section(const char *path);

/* Whether the setting may be given as <path>_file. */
bool setting_has_file(const struct setting *t);

/* The path's last part, and the length of the section before it (0 for none). */
const char *setting_leaf(const struct setting *t);
size_t setting_section_len(const struct setting *t);

/* Whether the table comes to a new section with `t`, which must lie in it. The settings of one
 * section stand together there. */
bool setting_begins_section(const struct setting *t);

#endif
