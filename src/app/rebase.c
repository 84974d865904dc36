/* `outboxd rebase`: says what the move will skip and repeat, asks, moves. Needs the owner, like
 * migrate. */
#include "app/commands.h"
#include "app/confirm.h"
#include "outbox/admin.h"
#include "settings/settings.h"

#include <stdio.h>
#include <string.h>

static void print_count(const char *label, int64_t count, bool estimated, const char *meaning)
{
    if (count == 0)
        (void)printf("  %s none\n", label);
    else
        (void)printf("  %s %s%lld event%s %s\n", label, estimated ? "up to " : "", (long long)count,
                     count == 1 ? "" : "s", meaning);
}

static void print_stand(const struct admin_rebase_look *look)
{
    if (look->foreign_server)
        (void)printf("  now at    a position of another server: what is published cannot be told "
                     "here\n");
    else if (look->ahead)
        (void)printf("  now at    a position ahead of this server: what is published cannot be "
                     "told here\n");
    else if (look->unsent_id != 0)
        (void)printf("  now at    event %lld, the first that is not published; the newest is "
                     "%lld\n",
                     (long long)look->unsent_id, (long long)look->newest_id);
    else
        (void)printf("  now at    the end: all events are published\n");
}

static void print_move(const struct admin_rebase_look *look, const char *relay, const char *to)
{
    bool unknown = look->foreign_server || look->ahead;

    if (look->first_id != 0)
        (void)printf("relay %s: the position moves to %s: event %lld, written at %s\n", relay, to,
                     (long long)look->first_id, look->first_time);
    else
        (void)printf("relay %s: the position moves to %s: only what comes is published\n", relay,
                     to);
    print_stand(look);
    print_count("repeated ", look->repeated, look->repeated_estimated,
                unknown ? "that may be published already, and are published once more"
                        : "that are published already, and are published once more");
    if (unknown && (look->first_id == 0 || look->first_id > look->oldest_id))
        (void)printf("  skipped   what is before that and not yet published\n");
    else
        print_count("skipped  ", look->skipped, look->skipped_estimated,
                    "that are not published, and will NOT be published");
}

static void print_keep(const struct admin_rebase_look *look, const char *relay)
{
    (void)printf("relay %s: the position stays at base %s%s%s, and this server becomes its own\n"
                 "  right     after pg_upgrade, which keeps transaction ids\n"
                 "  wrong     after a dump and restore: events would be lost or repeated\n",
                 relay, str_text(&look->was.base), look->was.target.len > 0 ? ", target " : "",
                 str_text(&look->was.target));
}

static void print_done(const struct admin_rebase *done)
{
    const struct position *was = &done->was;
    const struct position *is = &done->is;

    (void)printf("was   base %s target %s last id %lld\n", str_text(&was->base),
                 was->target.len == 0 ? "-" : str_text(&was->target), (long long)was->last_id);
    (void)printf("is    base %s target %s last id %lld\n", str_text(&is->base),
                 is->target.len == 0 ? "-" : str_text(&is->target), (long long)is->last_id);
    (void)printf("epoch %lld: a running relay goes on from there%s\n", (long long)done->epoch,
                 done->server_changed ? "\nthis server is now the position's own" : "");
}

static int move(const struct command_server *server, const char *relay, const char *to,
                struct err *err)
{
    struct admin_rebase done = {0};
    int rc = admin_rebase(server, relay, to, &done, err);

    if (rc == 0)
        print_done(&done);
    admin_rebase_release(&done);
    return rc;
}

static int rebase(const struct cli *c, const char *relay, struct err *err)
{
    struct command_server server = {.url = c->url};
    struct admin_rebase_look look = {0};
    const char *to = c->keep ? "keep" : c->to;
    int rc = admin_rebase_look(&server, relay, to, &look, err);

    if (rc != 0)
        goto out;
    if (c->keep && !look.foreign_server) {
        (void)printf("relay %s: the position is this server's own already; nothing was changed\n",
                     relay);
        goto out;
    }
    if (c->keep)
        print_keep(&look, relay);
    else
        print_move(&look, relay, to);
    (void)fflush(stdout);
    if (c->dry_run)
        (void)printf("Nothing was changed (--dry-run).\n");
    else if (!c->yes && !confirmed())
        rc = err_set(err, ERR_USAGE, "nothing was changed: say --yes, or answer yes at a terminal");
    else
        rc = move(&server, relay, to, err);
out:
    admin_rebase_look_release(&look);
    return rc;
}

int command_rebase(const struct cli *c, struct err *err)
{
    struct settings settings = {0};
    int rc = settings_load(&settings, c->config, err);

    if (rc == 0)
        rc = rebase(c, settings.relay.name, err);
    settings_release(&settings);
    return rc;
}
