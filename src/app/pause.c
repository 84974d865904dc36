/* `outboxd pause` and `outboxd resume`: say who leads and what waits, write the relay's row, and
 * wait until the process that leads has heard of it. With the relay's own credentials, so that
 * whoever is woken needs no others. */
#include "app/commands.h"
#include "outbox/admin.h"
#include "settings/settings.h"

#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

const char *command_who(char *out, size_t size)
{
    const struct passwd *user = getpwuid(getuid());
    char host[128] = "";

    if (gethostname(host, sizeof host - 1) != 0)
        host[0] = '\0';
    if (user != NULL)
        (void)snprintf(out, size, "%s@%s", user->pw_name, host);
    else
        (void)snprintf(out, size, "uid %ld@%s", (long)getuid(), host);
    return out;
}

static void print_leader(const char *relay, const struct admin_status *st)
{
    if (st->leading)
        (void)printf("relay %s: %s leads, ", relay, str_text(&st->instance));
    else
        (void)printf("relay %s: nobody leads, ", relay);
    if (st->unsent_events == 0)
        (void)printf("no event waits\n");
    else
        (void)printf("%s%lld event%s wait%s, the oldest for %.0f s\n",
                     st->unsent_estimated ? "about " : "", (long long)st->unsent_events,
                     st->unsent_events == 1 ? "" : "s", st->unsent_events == 1 ? "s" : "",
                     st->oldest_unsent_s);
}

static void print_paused(const struct admin_status *st)
{
    (void)printf("paused for %.0f s by %s%s%s\n", st->paused_s, str_text(&st->paused_by),
                 st->pause_reason.len > 0 ? ": " : "", str_text(&st->pause_reason));
}

/* What came of it; a leader that has not heard is an error that passes. */
static int print_outcome(const struct admin_status *st, const struct admin_pause *done, bool on,
                         struct err *err)
{
    const char *leader = str_text(&st->instance);

    if (!done->leading)
        (void)printf(on ? "paused: no relay runs, and one that starts holds still\n"
                        : "resumed: no relay runs; start one, and it publishes\n");
    else if (done->heard)
        (void)printf(on ? "paused: %s reads nothing more\n" : "resumed: %s publishes again\n",
                     leader);
    else
        return err_set(err, ERR_TEMPFAIL,
                       "%s in the database, but %s has not heard of it within its lease of %d s: "
                       "it does with its next write, or it is an outboxd that knows no pause",
                       on ? "paused" : "resumed", leader, st->ttl_ms / 1000);
    return 0;
}

struct hold {
    const struct cli *cli;
    const char *relay;
    struct command_server server;
    struct admin_status status;
};

static int pause_relay(struct hold *h, struct err *err)
{
    struct admin_pause done;
    char me[300];

    if (h->status.paused_s >= 0) {
        print_paused(&h->status);
        (void)printf("It is paused already: nothing was changed.\n");
        return 0;
    }
    (void)printf("It will settle what is in flight, read nothing more and keep its lease, also "
                 "after a restart,\nuntil `outboxd resume`. Events wait in their table.\n");
    if (h->cli->dry_run) {
        (void)printf("Nothing was changed (--dry-run).\n");
        return 0;
    }
    (void)fflush(stdout);
    if (admin_pause(&h->server, h->relay, h->cli->reason, command_who(me, sizeof me), &done, err) !=
        0)
        return -1;
    return print_outcome(&h->status, &done, true, err);
}

static int resume_relay(struct hold *h, struct err *err)
{
    struct admin_pause done;

    if (h->status.paused_s < 0) {
        (void)printf("It is not paused: nothing was changed.\n");
        return 0;
    }
    print_paused(&h->status);
    (void)printf("It will publish what waits, then what comes.\n");
    if (h->cli->dry_run) {
        (void)printf("Nothing was changed (--dry-run).\n");
        return 0;
    }
    (void)fflush(stdout);
    if (admin_resume(&h->server, h->relay, &done, err) != 0)
        return -1;
    return print_outcome(&h->status, &done, false, err);
}

static int command(const struct cli *c, int (*act)(struct hold *h, struct err *err),
                   struct err *err)
{
    struct settings settings = {0};
    struct hold h = {.cli = c};
    int rc = settings_load(&settings, c->config, err);

    if (rc != 0)
        goto out;
    h.relay = settings.relay.name;
    h.server =
        c->url != NULL ? (struct command_server){.url = c->url} : command_server_of(&settings);
    rc = admin_status(&h.server, h.relay, &h.status, err);
    if (rc != 0)
        goto out;
    print_leader(h.relay, &h.status);
    rc = act(&h, err);
out:
    admin_status_release(&h.status);
    settings_release(&settings);
    return rc;
}

int command_pause(const struct cli *c, struct err *err)
{
    return command(c, pause_relay, err);
}

int command_resume(const struct cli *c, struct err *err)
{
    return command(c, resume_relay, err);
}
