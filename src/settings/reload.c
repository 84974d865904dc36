/* SIGHUP: what changed in the file since it was read, and what of it can be in force at once. */
#include "settings/print.h"
#include "settings/value.h"

static bool differs(const struct settings *a, const struct settings *b, const struct setting *t)
{
    struct str old = {0};
    struct str new = {0};
    bool changed;

    settings_put_value(a, t, &old, true);
    settings_put_value(b, t, &new, true);
    changed = !slice_eq(str_slice(&old), str_slice(&new));
    str_release(&old);
    str_release(&new);
    return changed;
}

/* Reloadable settings are single values, and what stood in the file was checked when it was loaded.
 */
static int take_over(struct settings *s, const struct settings *fresh, const struct setting *t,
                     struct err *err)
{
    struct str value = {0};
    int rc;

    value_put(fresh, t, &value);
    rc = value_store(s, t, str_text(&value), err);
    str_release(&value);
    return rc;
}

int settings_reload(struct settings *s, const char *path, struct settings_changes *changes,
                    struct err *err)
{
    struct settings fresh;
    int rc = settings_load(&fresh, path, err);

    *changes = (struct settings_changes){0};
    for (size_t i = 0; i < settings_count && rc == 0; i++) {
        const struct setting *t = &settings_table[i];

        if (!differs(s, &fresh, t))
            continue;
        if (t->reloadable) {
            rc = take_over(s, &fresh, t, err);
            changes->applied[changes->applied_count++] = t->path;
        } else {
            changes->pending[changes->pending_count++] = t->path;
        }
    }
    settings_release(&fresh);
    return rc;
}
