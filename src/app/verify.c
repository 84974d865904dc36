/* `outboxd verify`: holds the kept log against the topics, beside a relay that works.
 *
 * The order makes it sound. The stored position is read first: what it settles was acknowledged
 * before. Then the rows, which name the topics; then the topics, up to ends that are newer than the
 * position; then the rows that were committed meanwhile, so that every record read has its row, if
 * there is one. Nothing is written, anywhere.
 *
 * Failure: either server gone, or no room for temporary files, ends it without a verdict. */
#include "app/commands.h"

#include "app/meter.h"
#include "app/sink_params.h"
#include "app/verify_report.h"
#include "app/when.h"
#include "base/clock.h"
#include "kafka/scan.h"
#include "message/message.h"
#include "message/murmur2.h"
#include "outbox/kept.h"
#include "settings/settings.h"

#include <stdlib.h>
#include <string.h>

#define PAGE_ROWS    50000U
#define MEMORY_BYTES ((size_t)24 << 20) /* for sorting; with both libraries under 64 MB in all */

struct verification {
    const struct cli *cli;
    struct settings settings;
    struct kept_filter filter;
    struct kept *kept;
    struct judge *judge;
    struct verify_report report;
    struct message message;
    struct meter meter;
    int64_t rows;
    uint16_t *numbers;        /* of the topics that are read, as kafka_scan counts them */
    const char **topic_names; /* borrowed from report.topics */
    size_t topic_count;
};

/* ---- rows ------------------------------------------------------------------------------------ */

static enum row_state row_state_of(enum kept_state state)
{
    switch (state) {
    case KEPT_SETTLED:
        return ROW_SETTLED;
    case KEPT_GIVEN_UP:
        return ROW_GIVEN_UP;
    case KEPT_UNSETTLED:
        break;
    }
    return ROW_UNSETTLED;
}

static uint16_t type_number(struct verification *v, struct slice type)
{
    int32_t number = type.ptr == NULL ? -1 : names_number(&v->report.types, type);

    return number < 0 ? UINT16_MAX : (uint16_t)number;
}

static int32_t topic_number(struct verification *v, struct slice topic, struct err *err)
{
    int32_t number = names_number(&v->report.topics, topic);

    if (number < 0)
        (void)err_set(err, ERR_SOFTWARE, "more than %d topics: give some by --topic", NAMES_MAX);
    return number;
}

static int take_row(void *ctx, const struct event *e, enum kept_state state, struct err *err)
{
    struct verification *v = ctx;
    struct row_entry row = {.id = e->id,
                            .created_us = e->created_at_us,
                            .topic = ENTRY_NO_TOPIC,
                            .type = type_number(v, e->event_type),
                            .state = (uint8_t)row_state_of(state)};
    struct err unfit;

    memcpy(row.event_id, e->event_id, sizeof row.event_id);
    if (message_build(&v->message, &v->settings.routes, e, &unfit) == 0) {
        int32_t number = topic_number(v, v->message.topic, err);

        if (number < 0)
            return -1;
        row.topic = (uint16_t)number;
    }
    row.key = key_digest_of(v->message.key.ptr, v->message.key.len);
    if (++v->rows % 4096 == 0)
        meter_show(&v->meter, "verify: %lld rows read", (long long)v->rows);
    return judge_row(v->judge, &row, err);
}

static int read_rows(struct verification *v, bool new_ones, struct err *err)
{
    const struct kept_reader reader = {.ctx = v, .row = take_row, .page_rows = PAGE_ROWS};
    int rc = new_ones ? kept_read_new(v->kept, &v->filter, &reader, err)
                      : kept_read(v->kept, &v->filter, &reader, err);

    return rc == 0 ? 0 : err_wrap(err, "read outbox.event");
}

/* ---- topics ---------------------------------------------------------------------------------- */

static int name_topic(struct verification *v, const char *topic, struct err *err)
{
    if (!topic_name_is_legal(slice_of(topic)))
        return err_set(err, ERR_USAGE, "\"%.100s\" is no name of a topic", topic);
    return topic_number(v, slice_of(topic), err) < 0 ? -1 : 0;
}

/* Those of --topic; else those of the rows and those that routes name without a placeholder. */
static int choose_topics(struct verification *v, struct err *err)
{
    const struct route_table *routes = &v->settings.routes;
    const struct cli_texts *asked = &v->cli->topics;
    struct names *topics = &v->report.topics;

    for (size_t i = 0; i < asked->count; i++)
        if (name_topic(v, asked->text[i], err) != 0)
            return -1;
    for (size_t i = 0; asked->count == 0 && i < routes->count; i++) {
        const char *topic = route_fixed_topic(&routes->routes[i]);

        if (topic != NULL && name_topic(v, topic, err) != 0)
            return -1;
    }
    v->numbers = xcalloc(topics->count, sizeof v->numbers[0]);
    v->topic_names = xcalloc(topics->count, sizeof v->topic_names[0]);
    for (size_t t = 0; t < topics->count; t++) {
        bool wanted = asked->count == 0;

        for (size_t i = 0; i < asked->count; i++)
            wanted = wanted || strcmp(asked->text[i], topics->text[t]) == 0;
        if (!wanted)
            continue;
        v->numbers[v->topic_count] = (uint16_t)t;
        v->topic_names[v->topic_count++] = topics->text[t];
    }
    return 0;
}

static void take_topic(void *ctx, size_t topic, int32_t partitions)
{
    struct verification *v = ctx;

    coverage_topic(&v->report.coverage, v->numbers[topic], partitions);
}

static void take_partition(void *ctx, size_t topic, int32_t partition, int64_t low, int64_t start,
                           int64_t end)
{
    struct verification *v = ctx;

    coverage_partition(&v->report.coverage, v->numbers[topic], partition, low, start, end);
}

static int take_record(void *ctx, const struct scan_record *r, struct err *err)
{
    struct verification *v = ctx;
    uint16_t topic = v->numbers[r->topic];
    uint32_t murmur = murmur2(r->key.ptr != NULL ? r->key.ptr : "", r->key.len);
    struct record_entry record = {.topic = topic,
                                  .partition = r->partition,
                                  .offset = r->offset,
                                  .type = type_number(v, r->event_type),
                                  .replayed = r->replayed};
    bool ours = event_id_parse(r->event_id, record.event_id);

    coverage_record(&v->report.coverage, topic, r->partition, r->offset, r->timestamp_us,
                    ours ? &murmur : NULL);
    if (!ours) {
        v->report.foreign++;
        return 0;
    }
    if (!message_parse_time(r->event_time, &record.event_us))
        record.event_us = r->timestamp_us; /* no relay's; it was not made later than that */
    return judge_record(v->judge, &record, err);
}

static void show_records(void *ctx, int64_t read, int64_t total)
{
    struct verification *v = ctx;

    meter_show(&v->meter, "verify: %lld rows, %lld of %lld records read", (long long)v->rows,
               (long long)read, (long long)total);
}

/* Records of an event are not older than the event, but for a difference of the clocks. */
static int read_topics(struct verification *v, struct err *err)
{
    struct kafka_sink_params sink;
    struct kafka_pair *pairs = sink_params_of(&v->settings, &sink);
    int64_t since = v->filter.since_us;
    struct scan_params scan = {.kafka = &sink,
                               .topics = v->topic_names,
                               .topic_count = v->topic_count,
                               .since_us =
                                   since == INT64_MIN ? SCAN_NO_TIME : since - COVERAGE_MARGIN_US,
                               .ctx = v,
                               .topic = take_topic,
                               .partition = take_partition,
                               .record = take_record,
                               .progress = show_records};
    int rc = kafka_scan(&scan, err);

    free(pairs);
    if (rc != 0)
        return err_wrap(err, "read the topics");
    coverage_finish(&v->report.coverage);
    return 0;
}

/* ---- the verdict ----------------------------------------------------------------------------- */

/* Records of a day of which no row is left have no rows for a good reason. Asked at the end: a day
 * that retention has emptied meanwhile does not come back. */
static int ask_days(struct verification *v, struct err *err)
{
    const int32_t *days;
    size_t count = judge_days(v->judge, &days);
    bool *left = xcalloc(count, sizeof left[0]);
    int rc = kept_days(v->kept, days, count, left, err);

    if (rc == 0)
        judge_days_left(v->judge, left);
    free(left);
    return rc;
}

static int examine(struct verification *v, struct err *err)
{
    if (read_rows(v, false, err) != 0 || choose_topics(v, err) != 0 || read_topics(v, err) != 0 ||
        read_rows(v, true, err) != 0 || ask_days(v, err) != 0)
        return -1;
    meter_show(&v->meter, "verify: judging");
    return judge_run(v->judge, &v->report.coverage, &v->report.totals, err);
}

static int tell(const struct verification *v, struct err *err)
{
    const struct judge_totals *t = &v->report.totals;

    if (v->cli->json) {
        if (verify_report_print_json(&v->report, err) != 0)
            return -1;
    } else {
        verify_report_print(&v->report);
    }
    if (verify_report_wrong(&v->report) == 0)
        return 0;
    return err_set(err, ERR_FINDINGS, "verify: %lld lost, %lld ghost, %lld inverted",
                   (long long)t->found[JUDGED_LOST], (long long)t->found[JUDGED_GHOST],
                   (long long)t->found[JUDGED_INVERTED]);
}

static int read_options(struct verification *v, struct err *err)
{
    const struct when_span span = {
        .from_option = "since", .from = v->cli->from, .until = v->cli->until};

    v->filter = KEPT_EVERYTHING;
    return when_parse_span(&span, clock_wall_us(), &v->filter.since_us, &v->filter.until_us, err);
}

static int verify(struct verification *v, struct err *err)
{
    const struct command_server server = command_server_of(&v->settings);
    const char *folder = getenv("TMPDIR");
    const struct judge_params judge = {.memory_bytes = MEMORY_BYTES,
                                       .folder =
                                           folder != NULL && folder[0] != '\0' ? folder : "/tmp",
                                       .since_us = v->filter.since_us,
                                       .until_us = v->filter.until_us,
                                       .ghosts = !v->cli->shared,
                                       .found = verify_report_add,
                                       .ctx = &v->report};
    uint64_t begun = clock_now_ms();
    int rc = -1;

    verify_report_init(&v->report, v->settings.relay.name, (size_t)v->cli->limit);
    message_init(&v->message);
    meter_init(&v->meter);
    v->judge = judge_new(&judge);
    v->kept = kept_open(&server, v->settings.relay.name, err);
    if (v->kept != NULL)
        rc = examine(v, err);
    meter_end(&v->meter);
    v->report.seconds = (double)(clock_now_ms() - begun) / 1000;
    if (rc == 0)
        rc = tell(v, err);
    kept_close(v->kept);
    judge_free(v->judge);
    message_release(&v->message);
    verify_report_release(&v->report);
    free(v->numbers);
    free(v->topic_names);
    return rc;
}

int command_verify(const struct cli *c, struct err *err)
{
    struct verification v = {.cli = c};
    int rc = read_options(&v, err);

    if (rc == 0)
        rc = settings_load(&v.settings, c->config, err);
    if (rc == 0)
        rc = verify(&v, err);
    settings_release(&v.settings);
    return rc;
}
