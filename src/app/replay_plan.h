/* Which events `outboxd replay` sends again, and the words that say so. */
#ifndef OUTBOXD_APP_REPLAY_PLAN_H
#define OUTBOXD_APP_REPLAY_PLAN_H

#include "app/cli.h"
#include "outbox/kept.h"
#include "settings/settings.h"

#include <stddef.h>
#include <stdint.h>

struct replay_topic {
    char *name;
    int64_t events;
};

struct replay_plan {
    const struct cli *cli;
    const struct settings *settings;
    struct kept_filter filter;
    struct replay_topic *topics;
    size_t topic_count;
    int64_t events;
    int64_t unpublished; /* they match, but the relay has not published them yet: left to it */
    int64_t first_id;
    int64_t last_id;
};

/* Reads the options; ERR_USAGE when they make no sense. Release the plan in any case. */
NODISCARD int replay_plan_init(struct replay_plan *p, const struct cli *c, int64_t now_us,
                               struct err *err);
void replay_plan_release(struct replay_plan *p);

/* Reads the rows without their payloads and counts them. ERR_CONFIG when one cannot be published
 * by today's configuration. */
NODISCARD int replay_plan_count(struct replay_plan *p, struct kept *kept, struct err *err);

/* The row as it is to be sent: with the topic of --topic. */
struct event replay_plan_event(const struct replay_plan *p, const struct event *e);

void replay_plan_print(const struct replay_plan *p);

/* The command that sends the rest of a replay that has come as far as `settled_id`. */
void replay_plan_put_command(const struct replay_plan *p, int64_t settled_id, struct str *out);

#endif
