/* `outboxd parked`: what waits in lanes, and a hand on it. retry asks for a try now and waits until
 * the process that leads has heard of it; skip gives up the next event of each lane, or the one by
 * which main is halted, and records it in outbox.dead. With the relay's own credentials. */
#include "app/parked.h"

#include "app/commands.h"
#include "app/confirm.h"
#include "outbox/admin.h"
#include "settings/settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { COUNT_FOR_LIST = 20, LOOK_AGAIN_MS = 100, HEARD_MORE_MS = 2000 };

struct parked {
    const struct cli *cli;
    const struct settings *settings;
    struct command_server server;
    struct admin_lanes lanes;
    uint32_t *chosen; /* ids */
    size_t count;
    bool main_too; /* skip: the event by which main is halted */
};

static int look(struct parked *p, size_t count_for, struct err *err)
{
    admin_lanes_release(&p->lanes);
    p->lanes = (struct admin_lanes){0};
    return admin_lanes(&p->server, p->settings->relay.name, &p->settings->routes, count_for,
                       &p->lanes, err);
}

static const struct admin_lane *find(const struct parked *p, uint32_t id)
{
    for (size_t i = 0; i < p->lanes.count; i++)
        if (p->lanes.lane[i].id == id)
            return &p->lanes.lane[i];
    return NULL;
}

/* ---- which --------------------------------------------------------------------------------- */

static int choose_by_number(struct parked *p, struct err *err)
{
    const struct cli_texts *words = &p->cli->words;

    for (size_t i = 1; i < words->count; i++) {
        uint32_t id = (uint32_t)strtoul(words->text[i], NULL, 10);

        if (id == 0 && !p->lanes.halted)
            return err_set(err, ERR_USAGE, "lane 0 is all the rest, and no event halts that");
        if (id == 0) {
            p->main_too = true;
            continue;
        }
        if (find(p, id) == NULL)
            return err_set(err, ERR_USAGE, "there is no lane %u (any more); outboxd parked list",
                           (unsigned)id);
        p->chosen[p->count++] = id;
    }
    return 0;
}

static bool is_meant(const struct cli *c, const struct admin_lane *l)
{
    if (c->key != NULL && (l->by != LANE_BY_KEY || !slice_is(str_slice(&l->key), c->key)))
        return false;
    if (c->of_topic != NULL && !slice_is(str_slice(&l->topic), c->of_topic))
        return false;
    return c->error == NULL || strcmp(l->trouble.cause, c->error) == 0;
}

static int choose(struct parked *p, struct err *err)
{
    p->chosen = xcalloc(p->lanes.count + CLI_TEXTS_MAX, sizeof *p->chosen);
    if (p->cli->words.count > 1)
        return choose_by_number(p, err);
    for (size_t i = 0; i < p->lanes.count; i++)
        if (is_meant(p->cli, &p->lanes.lane[i]))
            p->chosen[p->count++] = p->lanes.lane[i].id;
    return 0;
}

/* Says what is meant, and asks. Returns 1 to go on, 0 when there is nothing to do. */
static int agree(const struct parked *p, const char *will, struct err *err)
{
    if (p->count == 0 && !p->main_too) {
        (void)printf("No lane is meant: nothing was changed.\n");
        return 0;
    }
    if (p->main_too)
        parked_print_halted(&p->lanes.trouble);
    for (size_t i = 0; i < p->count; i++)
        parked_print_lane(find(p, p->chosen[i]));
    (void)printf("%s\n", will);
    (void)fflush(stdout);
    if (p->cli->dry_run) {
        (void)printf("Nothing was changed (--dry-run).\n");
        return 0;
    }
    if (!p->cli->yes && !confirmed())
        return err_set(err, ERR_USAGE,
                       "nothing was changed: say --yes, or answer yes at a terminal");
    return 1;
}

/* ---- retry --------------------------------------------------------------------------------- */

static size_t unheard(const struct parked *p)
{
    size_t count = 0;

    for (size_t i = 0; i < p->count; i++) {
        const struct admin_lane *l = find(p, p->chosen[i]);

        count += l != NULL && l->asked;
    }
    return count;
}

static int await_heard(struct parked *p, uint32_t ttl_ms, struct err *err)
{
    const struct timespec pause = {.tv_nsec = LOOK_AGAIN_MS * 1000000L};

    for (uint32_t ms = 0; ms < ttl_ms / 3 + HEARD_MORE_MS; ms += LOOK_AGAIN_MS) {
        if (look(p, 0, err) != 0)
            return -1;
        if (unheard(p) == 0) {
            (void)printf("tried; `outboxd parked list` says what came of it\n");
            return 0;
        }
        (void)nanosleep(&pause, NULL);
    }
    return err_set(err, ERR_TEMPFAIL,
                   "asked for in the database, but %zu of them have not been tried yet: others are "
                   "tried before them",
                   unheard(p));
}

static int retry(struct parked *p, struct err *err)
{
    struct admin_status status = {0};
    char me[300];
    struct admin_wish wish;
    size_t done = 0;
    int rc;

    if (p->main_too)
        return err_set(err, ERR_USAGE, "what halts lane 0 is tried again by itself, every 30 s");
    rc = agree(p, "They will be tried now.", err);
    if (rc != 1)
        return rc;
    wish = (struct admin_wish){.relay = p->settings->relay.name,
                               .by_whom = command_who(me, sizeof me)};
    rc = admin_retry(&p->server, &wish, p->chosen, p->count, &done, err);
    if (rc == 0)
        rc = admin_status(&p->server, p->settings->relay.name, &status, err);
    if (rc == 0 && !status.leading)
        (void)printf("asked for: no relay runs; one that starts tries all lanes\n");
    else if (rc == 0)
        rc = await_heard(p, (uint32_t)status.ttl_ms, err);
    admin_status_release(&status);
    return rc;
}

/* ---- skip ---------------------------------------------------------------------------------- */

static int skip(struct parked *p, struct err *err)
{
    struct admin_skip *skips;
    size_t count = 0;
    size_t done = 0;
    char me[300];
    struct admin_wish wish;
    int rc = agree(p,
                   "Their next events will NOT be published: they are recorded in outbox.dead, and "
                   "what stands behind them goes on.",
                   err);

    if (rc != 1)
        return rc;
    skips = xcalloc(p->count + 1, sizeof *skips);
    if (p->main_too)
        skips[count++] = (struct admin_skip){.lane = 0, .row_id = p->lanes.trouble.row_id};
    for (size_t i = 0; i < p->count; i++) {
        const struct admin_lane *l = find(p, p->chosen[i]);

        if (l != NULL)
            skips[count++] = (struct admin_skip){.lane = l->id, .row_id = l->trouble.row_id};
    }
    wish = (struct admin_wish){.relay = p->settings->relay.name,
                               .by_whom = command_who(me, sizeof me),
                               .reason = p->cli->reason};
    rc = admin_skip(&p->server, &wish, skips, count, &done, err);
    free(skips);
    if (rc != 0)
        return -1;
    (void)printf("%zu event%s given up\n", done, done == 1 ? "" : "s");
    if (done == count)
        return 0;
    return err_set(err, ERR_TEMPFAIL,
                   "%zu of %zu were left alone: another event stands there by now, or the lane has "
                   "not read its next one yet; look again",
                   count - done, count);
}

/* ---- the command --------------------------------------------------------------------------- */

static int show(struct parked *p, struct err *err)
{
    const struct admin_lane *l = find(p, (uint32_t)strtoul(p->cli->words.text[1], NULL, 10));

    if (l == NULL)
        return err_set(err, ERR_USAGE, "there is no lane %.9s (any more); outboxd parked list",
                       p->cli->words.text[1]);
    parked_print_lane(l);
    return 0;
}

static int list(struct parked *p, struct err *err)
{
    if (p->cli->json)
        return parked_print_json(p->settings->relay.name, &p->lanes, err);
    parked_print_list(p->settings->relay.name, &p->lanes);
    return 0;
}

static int act(struct parked *p, struct err *err)
{
    const char *verb = p->cli->words.text[0];
    bool shows_one = strcmp(verb, "show") == 0;

    if (look(p, shows_one ? SIZE_MAX : COUNT_FOR_LIST, err) != 0)
        return -1;
    if (strcmp(verb, "list") == 0)
        return list(p, err);
    if (shows_one)
        return show(p, err);
    if (choose(p, err) != 0)
        return -1;
    return strcmp(verb, "retry") == 0 ? retry(p, err) : skip(p, err);
}

int command_parked(const struct cli *c, struct err *err)
{
    struct settings settings = {0};
    struct parked p = {.cli = c, .settings = &settings};
    int rc = settings_load(&settings, c->config, err);

    if (rc == 0) {
        p.server =
            c->url != NULL ? (struct command_server){.url = c->url} : command_server_of(&settings);
        rc = act(&p, err);
    }
    admin_lanes_release(&p.lanes);
    free(p.chosen);
    settings_release(&settings);
    return rc;
}
