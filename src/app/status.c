/* `outboxd status`: reads the database only, so that it works beside a dead relay. First line: is
 * it well? */
#include "app/commands.h"

#include "base/problem.h"
#include "outbox/admin.h"
#include "outbox/migrate.h"
#include "outbox/overdue.h"
#include "settings/settings.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "850 ms", "12.3 s", "4 min 10 s", "3 h 5 min", "2 d 4 h" */
static const char *age_text(double seconds, char *out, size_t size)
{
    long long s = (long long)seconds;

    if (seconds < 1)
        (void)snprintf(out, size, "%.0f ms", seconds * 1000);
    else if (s < 60)
        (void)snprintf(out, size, "%.1f s", seconds);
    else if (s < 3600)
        (void)snprintf(out, size, "%lld min %lld s", s / 60, s % 60);
    else if (s < 86400)
        (void)snprintf(out, size, "%lld h %lld min", s / 3600, s % 3600 / 60);
    else
        (void)snprintf(out, size, "%lld d %lld h", s / 86400, s % 86400 / 3600);
    return out;
}

/* One word for the whole: what a person wants to know first. */
static const char *verdict(const struct admin_status *st)
{
    if (st->schema_version < migrate_required_version())
        return "older schema";
    if (st->schema_version > migrate_newest_version())
        return "newer schema";
    if (st->foreign_server)
        return "foreign database";
    if (st->trouble.halted)
        return "halted";
    if (!st->leading)
        return "no leader";
    if (st->trouble.cause[0] != '\0')
        return "waiting";
    return "ok";
}

static const char *what_to_do(const struct admin_status *st)
{
    if (st->schema_version < migrate_required_version())
        return "run `outboxd migrate`: this outboxd needs a newer schema";
    if (st->schema_version > migrate_newest_version())
        return "use a newer outboxd: this one does not know the schema";
    if (st->foreign_server)
        return "the position belongs to another server (restored dump?): `outboxd rebase` accepts "
               "this one";
    if (st->trouble.cause[0] != '\0')
        return problem_advice(problem_parse(st->trouble.cause));
    if (!st->leading)
        return "start `outboxd run`; if it does not stay up or does not lead, `outboxd check` and "
               "its log say why";
    return "";
}

static void print_lease(const struct admin_status *st)
{
    char age[48];

    if (st->holder[0] == '\0') {
        (void)printf("  leader       nobody (epoch %lld%s%s)\n", (long long)st->epoch,
                     st->instance.len > 0 ? ", last: " : "", str_text(&st->instance));
        return;
    }
    (void)printf("  leader       %s, epoch %lld, renewed %s ago (ttl %d s)%s\n",
                 str_text(&st->instance), (long long)st->epoch,
                 age_text(st->renewed_s, age, sizeof age), st->ttl_ms / 1000,
                 st->leading ? "" : ", EXPIRED");
}

static void print_trouble(const struct admin_status *st)
{
    const struct trouble *t = &st->trouble;
    char age[48];

    if (t->cause[0] == '\0')
        return;
    (void)printf("  trouble      %s, for %s\n", t->cause, age_text(st->trouble_s, age, sizeof age));
    (void)printf("               %s\n", t->text);
    if (t->topic[0] != '\0')
        (void)printf("  topic        %s\n", t->topic);
    if (t->event_id[0] != '\0')
        (void)printf("  event        %s (id %lld)\n", t->event_id, (long long)t->row_id);
    if (t->attempts > 0)
        (void)printf("  attempts     %u\n", t->attempts);
    if (t->next_try_ms > 0)
        (void)printf("  next try     in %s\n",
                     age_text((double)t->next_try_ms / 1000, age, sizeof age));
}

static void print_overdue(const struct overdue *o)
{
    for (size_t i = 0; i < o->listed; i++)
        (void)printf("  %-12s %s (%.1f MB): %s\n", i == 0 ? "overdue" : "", o->days[i].partition,
                     (double)o->days[i].bytes / 1e6, o->days[i].reason);
    if (o->count > o->listed)
        (void)printf("               and %zu more\n", o->count - o->listed);
}

static void print_text(const char *relay, const struct admin_status *st, const struct overdue *o)
{
    char age[48];

    (void)printf("relay %s: %s\n", relay, verdict(st));
    print_lease(st);
    (void)printf("  unsent       %s%lld events", st->unsent_estimated ? "about " : "",
                 (long long)st->unsent_events);
    if (st->unsent_events > 0 && st->oldest_unsent_s >= 0)
        (void)printf(", the oldest %s old", age_text(st->oldest_unsent_s, age, sizeof age));
    (void)printf("\n  position     base %s", str_text(&st->position.base));
    if (st->position.target.len > 0)
        (void)printf(", target %s, last id %lld", str_text(&st->position.target),
                     (long long)st->position.last_id);
    (void)printf("; stored %s ago\n", age_text(st->stored_s, age, sizeof age));
    print_trouble(st);
    (void)printf("  schema       version %d, doorbell %s%s\n", st->schema_version,
                 st->bells > 0 ? "installed" : "absent",
                 o->supported ? "" : ", no retention (`outboxd migrate`)");
    print_overdue(o);
    if (what_to_do(st)[0] != '\0')
        (void)printf("  what to do   %s\n", what_to_do(st));
}

static json_t *trouble_json(const struct admin_status *st)
{
    const struct trouble *t = &st->trouble;

    if (t->cause[0] == '\0')
        return json_null();
    return json_pack("{s:s, s:s, s:s, s:s, s:I, s:i, s:i, s:b, s:f}", "cause", t->cause, "text",
                     t->text, "topic", t->topic, "event_id", t->event_id, "row_id",
                     (json_int_t)t->row_id, "attempts", (int)t->attempts, "next_try_ms",
                     (int)t->next_try_ms, "halted", (int)t->halted, "since_seconds", st->trouble_s);
}

static json_t *overdue_json(const struct overdue *o)
{
    json_t *list = json_array();

    for (size_t i = 0; i < o->listed; i++)
        (void)json_array_append_new(
            list, json_pack("{s:s, s:I, s:s}", "partition", o->days[i].partition, "bytes",
                            (json_int_t)o->days[i].bytes, "reason", o->days[i].reason));
    return json_pack("{s:b, s:I, s:o}", "supported", (int)o->supported, "overdue",
                     (json_int_t)o->count, "days", list);
}

static int print_json(const char *relay, const struct admin_status *st, const struct overdue *o,
                      struct err *err)
{
    json_t *doc = json_pack(
        "{s:s, s:s, s:s, s:{s:b, s:s, s:s, s:I, s:f, s:i}, s:{s:I, s:b, s:f}, s:{s:s, s:s, s:I, "
        "s:f}, s:o, s:{s:i, s:i}, s:o}",
        "relay", relay, "verdict", verdict(st), "what_to_do", what_to_do(st), "lease", "leading",
        (int)st->leading, "instance", str_text(&st->instance), "holder", st->holder, "epoch",
        (json_int_t)st->epoch, "renewed_seconds", st->renewed_s, "ttl_ms", st->ttl_ms, "unsent",
        "events", (json_int_t)st->unsent_events, "estimated", (int)st->unsent_estimated,
        "oldest_seconds", st->oldest_unsent_s, "position", "base", str_text(&st->position.base),
        "target", str_text(&st->position.target), "last_id", (json_int_t)st->position.last_id,
        "stored_seconds", st->stored_s, "trouble", trouble_json(st), "schema", "version",
        st->schema_version, "bells", st->bells, "retention", overdue_json(o));
    int rc = doc == NULL
                 ? -1
                 : json_dumpf(doc, stdout,
                              JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(6));

    json_decref(doc);
    if (rc != 0)
        return err_set(err, ERR_SOFTWARE, "cannot print the status as JSON");
    (void)putchar('\n');
    return 0;
}

int command_status(const struct cli *c, struct err *err)
{
    struct settings settings = {0};
    struct admin_status st = {0};
    struct overdue overdue;
    struct command_server server;
    int rc = settings_load(&settings, c->config, err);

    if (rc != 0)
        goto out;
    server = (struct command_server){.url = settings.postgres.url,
                                     .password = settings.postgres.password};
    rc = admin_status(&server, settings.relay.name, &st, err);
    if (rc == 0)
        rc = overdue_ask(&server, settings.retention.keep_ms, &overdue, err);
    if (rc != 0)
        goto out;
    if (c->json)
        rc = print_json(settings.relay.name, &st, &overdue, err);
    else
        print_text(settings.relay.name, &st, &overdue);
out:
    admin_status_release(&st);
    settings_release(&settings);
    return rc;
}
