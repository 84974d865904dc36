/* Reads every partition of the topics from its beginning to its end, and judges record by record.
 */
#include "kafka_admin.h"
#include "oracle_set.h"

#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ASK_TIMEOUT_MS 5000
#define MAX_PARTITIONS 1024
/* A partition that says nothing for so long, before its end, is a failure of the brokers. */
#define SILENCE_MS 60000

struct partition {
    rd_kafka_topic_t *rkt;
    int32_t topic; /* index into the set's topics */
    int32_t number;
    int32_t count; /* how many partitions the topic has */
    int64_t next;  /* first offset not read yet */
    int64_t end;
};

struct reading {
    struct oracle_set *set;
    const struct oracle_params *params;
    struct oracle_report *report;
    rd_kafka_t *rk;
    rd_kafka_queue_t *queue;
    PGconn *conn; /* for examples; opened when the first is needed */
    struct partition *parts;
    size_t part_count;
    struct str canon;
    char where[320];
};

/* ---- opening ---- */

static void add_partitions(struct reading *g, int32_t topic,
                           const struct rd_kafka_metadata_topic *md)
{
    rd_kafka_topic_t *rkt = rd_kafka_topic_new(g->rk, g->set->topics[topic], NULL);

    for (int i = 0; i < md->partition_cnt; i++) {
        struct partition *p;
        if (g->part_count == MAX_PARTITIONS)
            support_fail("oracle: more than %d partitions", MAX_PARTITIONS);
        p = &g->parts[g->part_count++];
        *p =
            (struct partition){.rkt = rkt, .topic = topic, .number = i, .count = md->partition_cnt};
        if (rd_kafka_consume_start_queue(rkt, i, RD_KAFKA_OFFSET_BEGINNING, g->queue) != 0)
            support_fail("oracle: cannot read %s [%d]", g->set->topics[topic], i);
    }
    if (md->partition_cnt == 0)
        rd_kafka_topic_destroy(rkt);
}

static void find_partitions(struct reading *g)
{
    const struct rd_kafka_metadata *md;

    if (rd_kafka_metadata(g->rk, 1, NULL, &md, ASK_TIMEOUT_MS) != RD_KAFKA_RESP_ERR_NO_ERROR)
        support_fail("oracle: the brokers %s do not answer", g->params->brokers);
    for (int32_t t = 0; t < g->set->topic_count; t++) {
        const struct rd_kafka_metadata_topic *found = NULL;
        for (int i = 0; i < md->topic_cnt; i++)
            if (strcmp(md->topics[i].topic, g->set->topics[t]) == 0)
                found = &md->topics[i];
        if (found != NULL) {
            add_partitions(g, t, found);
            g->report->topics++;
            continue;
        }
        g->report->missing_topics++;
        oracle_example(g->report, g->report->missing_topics, "no such topic: %s",
                       g->set->topics[t]);
    }
    rd_kafka_metadata_destroy(md);
}

static void set_option(rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char text[256];

    if (rd_kafka_conf_set(conf, name, value, text, sizeof text) != RD_KAFKA_CONF_OK)
        support_fail("oracle: %s", text);
}

static void open_reading(struct reading *g)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char text[256];

    set_option(conf, "bootstrap.servers", g->params->brokers);
    set_option(conf, "fetch.wait.max.ms", "50");
    set_option(conf, "check.crcs", "true");
    set_option(conf, "queued.max.messages.kbytes", "8192");
    set_option(conf, "log_level", "2");
    g->rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
    if (g->rk == NULL)
        support_fail("oracle: %s", text);
    g->queue = rd_kafka_queue_new(g->rk);
    g->parts = xcalloc(MAX_PARTITIONS, sizeof *g->parts);
    find_partitions(g);
}

static void close_reading(struct reading *g)
{
    for (size_t i = 0; i < g->part_count; i++)
        (void)rd_kafka_consume_stop(g->parts[i].rkt, g->parts[i].number);
    for (size_t i = 0; i < g->part_count; i++)
        if (g->parts[i].number == 0)
            rd_kafka_topic_destroy(g->parts[i].rkt);
    rd_kafka_queue_destroy(g->queue);
    rd_kafka_destroy(g->rk);
    PQfinish(g->conn);
    free(g->parts);
    str_release(&g->canon);
}

/* ---- one record ---- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The usual text form, in lower case. */
static bool parse_uuid(struct slice text, uint8_t id[16])
{
    size_t n = 0;

    if (text.ptr == NULL || text.len != 36)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        const int digit = hex_digit(text.ptr[i]);
        if (i == 8 || i == 13 || i == 18 || i == 23) {
            if (text.ptr[i] != '-')
                return false;
            continue;
        }
        if (digit < 0)
            return false;
        id[n / 2] = (uint8_t)(n % 2 == 0 ? digit << 4 : id[n / 2] | digit);
        n++;
    }
    return true;
}

/* The record's canonical form into g->canon; returns its event-id. */
static struct slice canon_of_record(struct reading *g, const rd_kafka_message_t *m)
{
    rd_kafka_headers_t *headers = NULL;
    struct slice id = {0};
    const char *name;
    const void *value;
    size_t size;

    oracle_canon_begin(&g->canon, (struct slice){m->key, m->key_len},
                       (struct slice){m->payload, m->len});
    if (rd_kafka_message_headers(m, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return id;
    for (size_t i = 0;
         rd_kafka_header_get_all(headers, i, &name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR;
         i++) {
        oracle_canon_header(&g->canon, slice_of(name), (struct slice){value, size});
        if (strcmp(name, "event-id") == 0)
            id = (struct slice){value, size};
    }
    return id;
}

static struct partition *partition_of(struct reading *g, const rd_kafka_message_t *m)
{
    for (size_t i = 0; i < g->part_count; i++)
        if (g->parts[i].rkt == m->rkt && g->parts[i].number == m->partition)
            return &g->parts[i];
    support_fail("oracle: a record of a partition that nobody asked for");
}

/* "topic [partition] @offset", for an example. */
static const char *where_is(struct reading *g, const rd_kafka_message_t *m)
{
    (void)snprintf(g->where, sizeof g->where, "%s [%d] @%lld", rd_kafka_topic_name(m->rkt),
                   (int)m->partition, (long long)m->offset);
    return g->where;
}

/* Shows both forms from shortly before their first difference. */
static void explain_wrong(struct reading *g, const struct oracle_event *e,
                          const rd_kafka_message_t *m)
{
    struct str expected = {0};
    const char *got = str_text(&g->canon);
    const char *want;
    size_t at = 0;

    if (g->report->wrong > 3)
        return;
    if (g->conn == NULL)
        g->conn = pg_open(g->params->pg, NULL);
    if (!oracle_read_row(g->conn, g->params, e->row_id, &expected))
        str_set(&expected, "(the row is gone)");
    want = str_text(&expected);
    while (got[at] != '\0' && got[at] == want[at])
        at++;
    at = at > 40 ? at - 40 : 0;
    oracle_example(g->report, g->report->wrong,
                   "wrong: row %lld at %s:\n      got      ...%.160s\n      expected ...%.160s",
                   (long long)e->row_id, where_is(g, m), got + at, want + at);
    str_release(&expected);
}

static void judge_content(struct reading *g, const struct oracle_event *e,
                          const struct partition *p, const rd_kafka_message_t *m)
{
    const int32_t asked =
        rd_kafka_msg_partitioner_murmur2(NULL, m->key, m->key_len, p->count, NULL, NULL);
    const bool same = e->content == oracle_hash(g->canon.data, g->canon.len, 0);

    if (same && e->topic == p->topic && (g->params->any_partition || asked == p->number))
        return;
    g->report->wrong++;
    if (!same)
        explain_wrong(g, e, m);
    else
        oracle_example(g->report, g->report->wrong,
                       "wrong: row %lld is at %s, but belongs to %s [%d]", (long long)e->row_id,
                       where_is(g, m), g->set->topics[e->topic], asked);
}

static void judge_order(struct reading *g, const struct oracle_event *e, const struct partition *p,
                        const rd_kafka_message_t *m)
{
    const int32_t place[2] = {p->topic, p->number};
    int64_t *last = oracle_set_turn(
        g->set, oracle_hash(m->key, m->key_len, oracle_hash(place, sizeof place, 0)));

    if (e->seq < *last) {
        g->report->inverted++;
        oracle_example(
            g->report, g->report->inverted, "out of order: key %.*s: number %lld after %lld at %s",
            (int)(m->key_len > 100 ? 100 : m->key_len), m->key != NULL ? (const char *)m->key : "",
            (long long)e->seq, (long long)*last, where_is(g, m));
        return;
    }
    *last = e->seq;
}

static void judge_record(struct reading *g, struct partition *p, const rd_kafka_message_t *m)
{
    const struct slice id_text = canon_of_record(g, m);
    struct oracle_event *e = NULL;
    uint8_t id[16];

    g->report->records++;
    if (parse_uuid(id_text, id))
        e = oracle_set_find(g->set, id);
    if (e == NULL) {
        g->report->ghosts++;
        oracle_example(g->report, g->report->ghosts, "ghost: event-id \"%.*s\" at %s",
                       (int)id_text.len, id_text.ptr != NULL ? id_text.ptr : "", where_is(g, m));
        return;
    }
    judge_content(g, e, p, m);
    if (e->seen++ > 0) {
        g->report->duplicates++;
        return;
    }
    g->set->unseen--;
    judge_order(g, e, p, m);
}

/* ---- all of them ---- */

static void ask_ends(struct reading *g)
{
    for (size_t i = 0; i < g->part_count; i++) {
        struct partition *p = &g->parts[i];
        const uint64_t give_up = test_now_ms() + SILENCE_MS;
        int64_t low = 0;
        while (rd_kafka_query_watermark_offsets(g->rk, g->set->topics[p->topic], p->number, &low,
                                                &p->end,
                                                ASK_TIMEOUT_MS) != RD_KAFKA_RESP_ERR_NO_ERROR) {
            if (test_now_ms() >= give_up)
                support_fail("oracle: %s [%d] has no leader", g->set->topics[p->topic],
                             (int)p->number);
            test_sleep_ms(20);
        }
        if (p->next < low)
            p->next = low;
    }
}

static bool at_end(const struct reading *g)
{
    for (size_t i = 0; i < g->part_count; i++)
        if (g->parts[i].next < g->parts[i].end)
            return false;
    return true;
}

/* Takes one record; false when none came within timeout_ms. */
static bool read_one(struct reading *g, int timeout_ms)
{
    rd_kafka_message_t *m = rd_kafka_consume_queue(g->queue, timeout_ms);
    bool got = false;

    if (m == NULL)
        return false;
    if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        struct partition *p = partition_of(g, m);
        judge_record(g, p, m);
        p->next = m->offset + 1;
        got = true;
    }
    rd_kafka_message_destroy(m);
    return got;
}

static void read_to_end(struct reading *g)
{
    uint64_t heard = test_now_ms();

    while (!at_end(g)) {
        if (read_one(g, 100))
            heard = test_now_ms();
        else if (test_now_ms() > heard + SILENCE_MS)
            support_fail("oracle: records are missing before the end of a partition");
    }
}

void oracle_read_topics(struct oracle_set *s, const struct oracle_params *p,
                        struct oracle_report *r)
{
    struct reading g = {.set = s, .params = p, .report = r};
    const uint64_t give_up = test_now_ms() + (uint64_t)p->wait_ms;

    open_reading(&g);
    while (s->unseen > 0 && g.part_count > 0 && test_now_ms() < give_up)
        (void)read_one(&g, 20);
    /* Everything there is, also behind the last event that was missing. */
    ask_ends(&g);
    read_to_end(&g);
    close_reading(&g);
}
