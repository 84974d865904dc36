/* config, migrate: thin lines between the command line and the folders that do the work. */
#include "app/commands.h"

#include "outbox/migrate.h"
#include "settings/settings.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DAYS_AHEAD 7

struct command_server command_server_of(const struct settings *s)
{
    return (struct command_server){.url = s->postgres.url, .password = s->postgres.password};
}

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

static int run_migrate(const struct cli *c, const struct migrate_params *params, struct err *err)
{
    if (c->print)
        return migrate_print(params, stdout, err);
    if (c->down >= 0)
        return migrate_down(params, c->down, err);
    return migrate_apply(params, err);
}

int command_migrate(const struct cli *c, struct err *err)
{
    struct settings settings = {0};
    struct migrate_params params;
    int rc;

    if (c->inbox) {
        params = (struct migrate_params){.server = {.url = c->url},
                                         .inbox = true,
                                         .wait_ms = c->timeout_ms,
                                         .drop_events = c->yes,
                                         .out = stdout};
        return run_migrate(c, &params, err);
    }
    if (c->print && !c->config_given && access(c->config, F_OK) != 0 && errno == ENOENT)
        return print_without_settings(c, err);
    rc = settings_load(&settings, c->config, err);
    if (rc != 0)
        goto out;
    params = migrate_params_of(c, &settings);
    rc = run_migrate(c, &params, err);
out:
    settings_release(&settings);
    return rc;
}
