/* config, migrate, rebase: thin lines between the command line and the folders that do the work. */
#include "app/commands.h"

#include "settings/settings.h"
#include "outbox/admin.h"
#include "outbox/migrate.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DAYS_AHEAD 7

int command_config(const struct cli *c, struct err *err)
{
    struct settings settings = {0};
    struct settings_problems problems = {0};
    int rc = 0;

    if (c->example) {
        settings_print_example(stdout);
        return 0;
    }
    rc = settings_load_listing(&settings, c->config, &problems, err);
    if (rc == 0)
        settings_print(&settings, stdout);
    for (size_t i = 1; rc != 0 && i < problems.count; i++) /* the first one is in `err` */
        (void)fprintf(stderr, "outboxd: %s\n", problems.text[i]);
    settings_problems_release(&problems);
    settings_release(&settings);
    return rc;
}

static struct migrate_params migrate_params_of(const struct cli *c, const struct settings *s)
{
    return (struct migrate_params){
        .server = {.url = c->url},
        .relay = s->relay.name,
        .start = c->start != NULL                ? c->start
                 : s->relay.start == START_UNSET ? NULL
                                                 : start_at_name(s->relay.start),
        .doorbell = !c->no_doorbell && s->relay.wakeup == WAKEUP_DOORBELL,
        .bells = c->bells,
        .days_ahead = DAYS_AHEAD,
        .wait_ms = c->timeout_ms,
        .drop_events = c->yes,
        .out = stdout,
    };
}

/* Whoever only wants to read the SQL need not have a configuration. What it would say is left to
 * its default, and the relay's row out: its name is not known. */
static int print_without_settings(const struct cli *c, struct err *err)
{
    struct migrate_params params = {
        .doorbell = !c->no_doorbell, .bells = c->bells, .days_ahead = DAYS_AHEAD};

    if (migrate_print(&params, stdout, err) != 0)
        return -1;
    (void)printf("-- The relay's row is missing here, because %s does not exist: SELECT "
                 "outbox.make_relay('NAME', '%s');\n",
                 c->config, c->start != NULL ? c->start : "beginning");
    return 0;
}

int command_migrate(const struct cli *c, struct err *err)
{
    struct settings settings = {0};
    struct migrate_params params;
    int rc;

    if (c->print && !c->config_given && access(c->config, F_OK) != 0 && errno == ENOENT)
        return print_without_settings(c, err);
    rc = settings_load(&settings, c->config, err);
    if (rc != 0)
        goto out;
    params = migrate_params_of(c, &settings);
    if (c->print)
        rc = migrate_print(&params, stdout, err);
    else if (c->down >= 0)
        rc = migrate_down(&params, c->down, err);
    else
        rc = migrate_apply(&params, err);
out:
    settings_release(&settings);
    return rc;
}

/* Asks on the terminal; anything but yes is no. */
static bool confirmed(void)
{
    char answer[16] = "";

    if (isatty(STDIN_FILENO) == 0)
        return false;
    (void)printf("Go on? [yes/no] ");
    (void)fflush(stdout);
    return fgets(answer, sizeof answer, stdin) != NULL && strcmp(answer, "yes\n") == 0;
}

static int rebase(const struct cli *c, const struct settings *s, struct err *err)
{
    struct command_server server = {.url = c->url};
    struct admin_rebase done = {0};
    int rc;

    (void)printf("relay %s: the position moves to %s.\n", s->relay.name, c->to);
    (void)printf(strcmp(c->to, "now") == 0
                     ? "What is committed and not yet published will NOT be published.\n"
                     : "Every event that the table still holds is published again.\n");
    if (c->dry_run) {
        (void)printf("Nothing was changed (--dry-run).\n");
        return 0;
    }
    if (!c->yes && !confirmed())
        return err_set(err, ERR_USAGE,
                       "nothing was changed: say --yes, or answer yes at a terminal");
    rc = admin_rebase(&server, s->relay.name, c->to, &done, err);
    if (rc == 0)
        (void)printf("was   base %s target %s last id %lld\nis    base %s\nepoch %lld: a running "
                     "relay goes on from there%s\n",
                     str_text(&done.was.base),
                     done.was.target.len == 0 ? "-" : str_text(&done.was.target),
                     (long long)done.was.last_id, str_text(&done.base), (long long)done.epoch,
                     done.server_changed ? "\nthis server is now the position's own" : "");
    admin_rebase_release(&done);
    return rc;
}

int command_rebase(const struct cli *c, struct err *err)
{
    struct settings settings = {0};
    int rc = settings_load(&settings, c->config, err);

    if (rc == 0)
        rc = rebase(c, &settings, err);
    settings_release(&settings);
    return rc;
}
