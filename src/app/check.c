/* `outboxd check`: connects to both sides and says, line by line, what is right and what to do
 * about what is not. */
#include "app/commands.h"

#include "app/sink_params.h"
#include "base/clock.h"
#include "base/report.h"
#include "kafka/inspect.h"
#include "outbox/inspect.h"
#include "outbox/overdue.h"
#include "settings/settings.h"

#include <stdio.h>
#include <stdlib.h>

struct tally {
    int wrong;
    int warnings;
};

static const char *finding_mark(enum finding f)
{
    switch (f) {
    case FINDING_OK:
        return "ok";
    case FINDING_NOTE:
        return "note";
    case FINDING_WARN:
        return "warning";
    case FINDING_WRONG:
        break;
    }
    return "WRONG";
}

static void print_line(void *ctx, enum finding finding, const char *what, const char *way_out)
{
    struct tally *t = ctx;

    t->wrong += finding == FINDING_WRONG;
    t->warnings += finding == FINDING_WARN;
    (void)printf("%-8s %s\n", finding_mark(finding), what);
    if (way_out != NULL)
        (void)printf("         -> %s\n", way_out);
}

/* The topics that can be named without having seen an event: those of the routes that hold no
 * placeholder, and where dead letters go. At most two for each route. */
static size_t named_topics(const struct settings *s, const char **topics)
{
    size_t n = 0;

    for (size_t i = 0; i < s->routes.count; i++) {
        const char *topic = route_fixed_topic(&s->routes.routes[i]);

        if (topic != NULL)
            topics[n++] = topic;
        if (s->routes.routes[i].dead_letter_topic != NULL)
            topics[n++] = s->routes.routes[i].dead_letter_topic;
    }
    return n;
}

static void check_kafka(const struct settings *s, const struct report *report)
{
    const char **topics = xcalloc(2 * s->routes.count, sizeof topics[0]);
    struct kafka_sink_params params;
    struct kafka_pair *pairs = sink_params_of(s, &params);

    kafka_inspect(&params, topics, named_topics(s, topics), report);
    free(pairs);
    free(topics);
}

int command_check(const struct cli *c, struct err *err)
{
    struct settings settings = {0};
    struct tally tally = {0};
    struct report report = {.ctx = &tally, .line = print_line};
    struct command_server server;
    int rc = settings_load(&settings, c->config, err);

    if (rc != 0)
        goto out;
    report_line(&report, FINDING_OK, NULL, "configuration %s", c->config);
    server = command_server_of(&settings);
    outbox_inspect(&server, settings.relay.name, clock_wall_us, &report);
    overdue_inspect(&server, settings.retention.keep_ms, &report);
    check_kafka(&settings, &report);
    if (tally.wrong > 0)
        rc = err_set(err, ERR_CONFIG, "check: %d wrong, %d warnings", tally.wrong, tally.warnings);
    else
        (void)printf("\nall is well%s\n", tally.warnings > 0 ? ", but read the warnings" : "");
out:
    settings_release(&settings);
    return rc;
}
