/* `outboxd verify` on a real Postgres and a real broker: faults put in on purpose are found, each
 * one and nothing else; what Kafka or the table's retention has removed is no fault; a healthy
 * system is clean while it works, through crashes of the relay; memory is bounded. */
#include "kept_log.h"

#include "../support/oracle.h"

#include <signal.h>

static int start(void **state)
{
    (void)state;
    start_servers();
    return 0;
}

static int stop(void **state)
{
    (void)state;
    stop_servers();
    return 0;
}

static const char *now_text(void)
{
    return pg_scalar(
        db, "SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')");
}

static void insert_keys(int keys, int events_each)
{
    for (int k = 0; k < keys; k++) {
        char key[16];

        (void)snprintf(key, sizeof key, "k%d", k);
        insert_events(key, events_each);
    }
}

/* ---- a quiet log ----------------------------------------------------------------------------- */

static void test_clean(void **state)
{
    json_t *doc;
    char out[OUTBOXD_OUT];

    (void)state;
    doc = verify(NULL, 0); /* nothing at all */
    assert_counts(doc, 0, 0, 0, 0);
    json_decref(doc);
    insert_keys(5, 100);
    doc = verify(NULL, 0); /* not published, and not said to be */
    assert_counts(doc, 0, 0, 0, 0);
    assert_int_equal(number_in(doc, "rows", "all"), 500);
    assert_int_equal(number_in(doc, "rows", "published"), 0);
    json_decref(doc);
    publish_all();
    doc = verify(NULL, 0);
    assert_counts(doc, 0, 0, 0, 0);
    assert_int_equal(number_in(doc, "rows", "published"), 500);
    assert_int_equal(number_in(doc, "records", "all"), 500);
    assert_true(json_is_true(json_object_get(doc, "clean")));
    json_decref(doc);
    assert_int_equal(outboxd_command(&relay, "verify", NULL, out), 0);
    assert_contains(out, "relay orders: clean");
    assert_contains(out, "500 in 1 topics, 3 partitions");
}

/* ---- faults on purpose ----------------------------------------------------------------------- */

static int64_t first_planted; /* id of the row that is lost; two inverted ones and more follow */

static void plant_faults(void)
{
    start_afresh();
    insert_events("healthy", 50);
    publish_all();
    insert_events("lost", 1);
    first_planted = pg_int(db, "SELECT max(id) FROM outbox.event");
    insert_events("inverted", 2);
    insert_events("given-up", 1);
    insert_events("replayed", 1);
    pretend_all_is_published();
    write_record_of(first_planted + 2, 1, false);
    write_record_of(first_planted + 1, 1, false);
    pg_exec(db,
            "INSERT INTO outbox.dead (relay, row_id, event_id, cause) "
            "SELECT 'orders', id, event_id, 'on purpose' FROM outbox.event WHERE id = %lld",
            (long long)first_planted + 3);
    write_record_of(first_planted + 4, 0, true);
    write_record_of(first_planted - 1, 2, true); /* of a healthy one: a replay, and twice */
    write_record_of(first_planted - 50, 2, false);
    write_record(&(struct hand_written){.topic = TOPIC,
                                        .partition = 2,
                                        .key = "ghost",
                                        .event_id = "0197fd3c-0000-7000-8000-00000000dead",
                                        .event_time = now_text()});
    write_record(&(struct hand_written){.topic = TOPIC, .partition = 0, .key = "foreign"});
}

static void assert_finding(const json_t *doc, const char *kind, int64_t row_id, int partition)
{
    const json_t *f = finding(doc, kind, 0);

    assert_non_null(f);
    assert_null(finding(doc, kind, 1));
    if (row_id != 0) {
        assert_int_equal(number_in(f, NULL, "row_id"), row_id);
        assert_string_equal(
            json_string_value(json_object_get(f, "event_id")),
            pg_scalar(db, "SELECT event_id FROM outbox.event WHERE id = %lld", (long long)row_id));
    }
    assert_string_equal(json_string_value(json_object_get(f, "topic")), TOPIC);
    if (partition >= 0)
        assert_int_equal(number_in(f, NULL, "partition"), partition);
    else
        assert_null(json_object_get(f, "partition"));
}

static void test_each_fault_is_found(void **state)
{
    json_t *doc;
    char out[OUTBOXD_OUT];

    (void)state;
    plant_faults();
    doc = verify(NULL, 65);
    assert_counts(doc, 1, 1, 1, 1);
    assert_finding(doc, "lost", first_planted, -1);
    assert_string_equal(json_string_value(json_object_get(finding(doc, "lost", 0), "type")),
                        "order.placed");
    assert_finding(doc, "ghost", 0, 2);
    assert_string_equal(json_string_value(json_object_get(finding(doc, "ghost", 0), "event_id")),
                        "0197fd3c-0000-7000-8000-00000000dead");
    assert_finding(doc, "inverted", first_planted + 1, 1);
    assert_int_equal(number_in(finding(doc, "inverted", 0), NULL, "offset"),
                     kafka_partition_end(kafka_brokers(&kafka), TOPIC, 1) - 1);
    assert_int_equal(number_in(finding(doc, "inverted", 0), NULL, "behind_id"), first_planted + 2);
    assert_finding(doc, "duplicate", first_planted - 50, 2);
    assert_int_equal(number_in(doc, "records", "replayed"), 2);
    assert_int_equal(number_in(doc, "records", "foreign"), 1);
    assert_int_equal(number_in(doc, "rows", "given_up"), 1);
    assert_int_equal(number_in(doc, NULL, "lost_but_replayed"), 1);
    json_decref(doc);

    assert_int_equal(outboxd_command(&relay, "verify", NULL, out), 65);
    assert_contains(out, "something is wrong");
    assert_contains(out, "verify: 1 lost, 1 ghost, 1 inverted");
    assert_contains(out, "type order.placed topic order-events\n");
    assert_lacks(out, "foreign"); /* no key */
    assert_lacks(out, "healthy");
}

/* In front of the faults' own state. */
static void test_options(void **state)
{
    json_t *doc;

    (void)state;
    doc = verify((const char *const[]){"--shared", NULL}, 65);
    assert_counts(doc, 1, 0, 1, 1);
    assert_int_equal(number_in(doc, "records", "strangers"), 1);
    json_decref(doc);
    doc = verify((const char *const[]){"--limit", "0", NULL}, 65);
    assert_counts(doc, 1, 1, 1, 1);
    assert_int_equal(json_array_size(json_object_get(doc, "findings")), 0);
    json_decref(doc);
    doc = verify((const char *const[]){"--until", "2026-01-01", NULL}, 0);
    assert_int_equal(number_in(doc, "rows", "all"), 0);
    assert_int_equal(number_in(doc, "records", "all"), 0);
    json_decref(doc);
    doc = verify((const char *const[]){"--since", "2h", NULL}, 65);
    assert_counts(doc, 1, 1, 1, 1);
    json_decref(doc);
    doc = verify((const char *const[]){"--topic", "elsewhere", "--topic", "nowhere", NULL}, 0);
    assert_int_equal(number_in(doc, "rows", "other_topics"), 55);
    json_decref(doc);
    doc = verify((const char *const[]){"--topic", "elsewhere", "--topic", TOPIC, NULL}, 65);
    assert_counts(doc, 1, 1, 1, 1);
    json_decref(doc);
}

/* From the row that comes first in the window on: what is before it counts for nothing. */
static void test_since_a_row(void **state)
{
    const char *since = pg_scalar(
        db,
        "SELECT to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') "
        "FROM outbox.event WHERE id = %lld",
        (long long)first_planted + 1);
    json_t *doc;

    (void)state;
    doc = verify((const char *const[]){"--since", since, NULL}, 65);
    assert_counts(doc, 0, 1, 1, 0);
    assert_int_equal(number_in(doc, "rows", "all"), 4);
    json_decref(doc);
    doc = verify((const char *const[]){"--until", since, NULL}, 65);
    assert_counts(doc, 1, 0, 0, 1);
    json_decref(doc);
}

/* ---- what is gone for a good reason ---------------------------------------------------------- */

/* As Kafka's retention would, but at once. */
static void remove_records(int32_t partition, int64_t before)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(client.rk);
    rd_kafka_DeleteRecords_t *wish;
    rd_kafka_event_t *answer;

    rd_kafka_topic_partition_list_add(list, TOPIC, partition)->offset = before;
    wish = rd_kafka_DeleteRecords_new(list);
    rd_kafka_DeleteRecords(client.rk, &wish, 1, NULL, queue);
    answer = rd_kafka_queue_poll(queue, 20000);
    assert_non_null(answer);
    assert_int_equal(rd_kafka_event_error(answer), RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_event_destroy(answer);
    rd_kafka_DeleteRecords_destroy(wish);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_queue_destroy(queue);
}

static void test_what_kafka_removed_is_not_judged(void **state)
{
    int64_t end;
    json_t *doc;

    (void)state;
    start_afresh();
    insert_events("one-key", 40); /* all in one partition */
    publish_all();
    for (int32_t p = 0; p < PARTITIONS; p++) {
        end = kafka_partition_end(kafka_brokers(&kafka), TOPIC, p);
        if (end > 0)
            remove_records(p, 15);
    }
    doc = verify(NULL, 0);
    assert_counts(doc, 0, 0, 0, 0);
    assert_int_equal(number_in(doc, "not_judged", "rows_perhaps_removed"), 15);
    assert_int_equal(number_in(doc, "not_judged", "order_unknown"), 25);
    assert_int_equal(number_in(json_array_get(json_object_get(doc, "topics"), 0), NULL, "removed"),
                     15);
    json_decref(doc);
}

static void test_a_recreated_topic_has_lost_everything(void **state)
{
    json_t *doc;

    (void)state;
    start_afresh();
    insert_events("k", 30);
    publish_all();
    kafka_delete_topic(&kafka, TOPIC);
    doc = verify(NULL, 65);
    assert_counts(doc, 30, 0, 0, 0);
    json_decref(doc);
    assert_int_equal(kafka_partitions(kafka_brokers(&kafka), TOPIC), 0); /* not made by looking */
    kafka_create_topic(&kafka, TOPIC, PARTITIONS, NULL);
    doc = verify(NULL, 65);
    assert_counts(doc, 30, 0, 0, 0);
    assert_int_equal(json_array_size(json_object_get(doc, "findings")), 20); /* the limit */
    json_decref(doc);
}

/* Records of a day that was emptied have no rows; of a day that was not, they are ghosts. */
static void test_a_day_that_retention_took(void **state)
{
    const char *day = pg_scalar(db, "SELECT to_char(now() - interval '3 days', 'YYYYMMDD')");
    json_t *doc;

    (void)state;
    start_afresh();
    pg_exec(db, "SELECT outbox.make_day((now() AT TIME ZONE 'UTC' - interval '3 days')::date)");
    pg_exec(db, "INSERT INTO outbox.event (aggregate_type, aggregate_id, event_type, payload, "
                "created_at) SELECT 'order', 'old', 'order.placed', '{}', now() - interval "
                "'3 days' FROM generate_series(1, 20)");
    insert_events("new", 10);
    publish_all();
    doc = verify(NULL, 0);
    assert_int_equal(number_in(doc, "rows", "published"), 30);
    json_decref(doc);
    pg_exec(db, "TRUNCATE outbox.event_%s", day);
    doc = verify(NULL, 0);
    assert_counts(doc, 0, 0, 0, 0);
    assert_int_equal(number_in(doc, "not_judged", "rows_retired"), 20);
    json_decref(doc);
    pg_exec(db, "DELETE FROM outbox.event WHERE id = (SELECT max(id) FROM outbox.event)");
    doc = verify(NULL, 65);
    assert_counts(doc, 0, 1, 0, 0);
    json_decref(doc);
}

static void test_the_partition_count_grows(void **state)
{
    json_t *doc;

    (void)state;
    start_afresh();
    insert_keys(8, 10);
    publish_all();
    kafka_grow_topic(&kafka, TOPIC, PARTITIONS + 4);
    insert_keys(8, 10);
    publish_all();
    doc = verify(NULL, 0);
    assert_counts(doc, 0, 0, 0, 0);
    assert_int_equal(number_in(doc, "rows", "published"), 160);
    json_decref(doc);
}

/* ---- while the system works ------------------------------------------------------------------ */

static void test_healthy_under_load(void **state)
{
    struct load *load;
    struct oracle_report seen;
    json_t *doc;
    int64_t published = 0;

    (void)state;
    start_afresh();
    load = load_start(&(struct load_params){.pg = &pg, .seed = 5, .long_transaction = true});
    for (int round = 0; round < 4; round++) {
        int64_t mark = load_committed(load);

        outboxd_start(&relay);
        WAIT_UNTIL(load_committed(load) > mark + 300, 30000);
        doc = verify(NULL, 0);
        assert_int_equal(number_in(doc, "not_judged", "rows_perhaps_removed"), 0);
        assert_int_equal(number_in(doc, "not_judged", "rows_retired"), 0);
        assert_true(number_in(doc, "rows", "published") >= published);
        published = number_in(doc, "rows", "published");
        json_decref(doc);
        outboxd_kill9(&relay);
    }
    assert_true(published > 300);
    load_stop(load);
    publish_all();
    seen = oracle_assert(
        &(struct oracle_params){.pg = &pg, .brokers = kafka_brokers(&kafka), .load = load},
        INT64_MAX);
    doc = verify(NULL, 0);
    assert_counts(doc, 0, 0, 0, seen.duplicates);
    assert_int_equal(number_in(doc, "rows", "published"), seen.committed);
    assert_int_equal(number_in(doc, "records", "all"), seen.records);
    json_decref(doc);
    load_free(load);
}

/* A row whose transaction began before the position and commits while verify runs must not be a
 * ghost. Here it commits between the position and the end, in the worst place: behind the rows. */
static void test_rows_that_commit_late(void **state)
{
    PGconn *late = pg_open(&pg, NULL);
    json_t *doc;

    (void)state;
    start_afresh();
    pg_exec(late, "BEGIN; SELECT outbox.publish('order', 'late', 'order.placed', '{}')");
    insert_events("early", 10);
    publish_all();
    doc = verify(NULL, 0);
    assert_int_equal(number_in(doc, "rows", "all"), 10);
    json_decref(doc);
    pg_exec(late, "COMMIT");
    PQfinish(late);
    doc = verify(NULL, 0); /* a straggler: visible, not settled */
    assert_int_equal(number_in(doc, "rows", "all"), 11);
    assert_int_equal(number_in(doc, "rows", "published"), 10);
    json_decref(doc);
    publish_all();
    doc = verify(NULL, 0);
    assert_int_equal(number_in(doc, "rows", "published"), 11);
    json_decref(doc);
}

/* ---- size ------------------------------------------------------------------------------------ */

#define MANY 1000000

static void test_a_million_in_bounded_memory(void **state)
{
    char path[PATH_SIZE];
    struct proc p;
    long peak = 0;
    uint64_t begun;
    json_t *doc;
    json_error_t error;

    (void)state;
    start_afresh();
    load_bulk(db, &(struct load_bulk){"m", MANY, 5000, 1, 200});
    outboxd_start(&relay);
    outboxd_wait_drained(&relay, 120000);
    assert_int_equal(outboxd_stop(&relay), 0);
    path_join(path, tmp_root(), "verdict");
    begun = test_now_ms();
    proc_start(&p,
               &(struct proc_params){.argv = (const char *const[]){outboxd_binary(), "verify", "-c",
                                                                   relay.config, "--json", NULL},
                                     .out_path = path,
                                     .err_path = relay.log});
    while (proc_alive(&p)) {
        long now = proc_peak_kib(p.pid);

        peak = now > peak ? now : peak;
        if (test_now_ms() - begun > 120000)
            support_fail("verify of %d events takes more than two minutes", MANY);
        test_sleep_ms(10);
    }
    print_message("verify of %d events: %llu ms, peak %ld KiB\n", MANY,
                  (unsigned long long)(test_now_ms() - begun), peak);
    assert_int_equal(proc_exit_code(&p), 0);
    doc = json_load_file(path, 0, &error);
    assert_non_null(doc);
    assert_counts(doc, 0, 0, 0, 0);
    assert_int_equal(number_in(doc, "rows", "published"), MANY);
    assert_int_equal(number_in(doc, "records", "all"), MANY);
    json_decref(doc);
    if (strstr(build_root(), "/san") == NULL)
        CHECK(peak < 64 * 1024, "verify took %ld KiB", peak);
}

/* ---- bad input ------------------------------------------------------------------------------- */

static void refuses(const char *const *more, int exit_code, const char *part)
{
    char out[OUTBOXD_OUT];
    int rc = outboxd_command(&relay, "verify", more, out);

    CHECK(rc == exit_code, "exit code %d, expected %d: %s", rc, exit_code, out);
    assert_contains(out, part);
}

static void test_bad_input(void **state)
{
    (void)state;
    refuses((const char *const[]){"--since", "yesterday", NULL}, 64, "--since takes a time");
    refuses((const char *const[]){"--until", "2026-13-01", NULL}, 64, "--until takes a time");
    refuses((const char *const[]){"--since", "2026-02-02", "--until", "2026-02-01", NULL}, 64,
            "before");
    refuses((const char *const[]){"--topic", "no topic", NULL}, 64, "no name of a topic");
    refuses((const char *const[]){"--limit", "many", NULL}, 64, "--limit takes a number");
    refuses((const char *const[]){"--rate", "5", NULL}, 64, "takes no --rate");
}

static void test_broken_surroundings(void **state)
{
    struct outboxd good = relay;

    (void)state;
    outboxd_configure(&relay, &pg, "127.0.0.1:1", NULL,
                      "routes: [{name: r, match: {aggregate_type: r}, topic: t}]");
    refuses(NULL, 69, "127.0.0.1:1");
    outboxd_configure(&relay, &pg, kafka_brokers(&kafka), NULL,
                      "routes: [{name: r, match: {aggregate_type: r}, topic: never-made}]");
    refuses(NULL, 0, "topic never-made does not exist");
    outboxd_configure_text(&relay, "postgres: {url: \"postgres://relay@127.0.0.1:1/postgres\"}\n"
                                   "kafka: {brokers: \"127.0.0.1:1\"}\nrelay: {name: orders}\n");
    refuses(NULL, 69, "connect to Postgres");
    relay = good;
    pg_exec(db, "UPDATE outbox.relay SET system_identifier = system_identifier + 1");
    refuses(NULL, 78, "another server");
    pg_exec(db, "UPDATE outbox.relay SET system_identifier = system_identifier - 1");
    pg_exec(db, "UPDATE outbox.relay SET name = 'other' WHERE false");
    pg_exec(db, "REVOKE SELECT ON outbox.event FROM outbox_relay");
    refuses(NULL, 78, "GRANT outbox_relay");
    pg_exec(db, "GRANT SELECT ON outbox.event TO outbox_relay");
    pg_exec(db, "UPDATE outbox.lane SET base = '900000000:900000000:'");
    refuses(NULL, 78, "ahead of the server");
    pretend_all_is_published();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clean),
        cmocka_unit_test(test_each_fault_is_found),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_since_a_row),
        cmocka_unit_test(test_what_kafka_removed_is_not_judged),
        cmocka_unit_test(test_a_recreated_topic_has_lost_everything),
        cmocka_unit_test(test_a_day_that_retention_took),
        cmocka_unit_test(test_the_partition_count_grows),
        cmocka_unit_test(test_healthy_under_load),
        cmocka_unit_test(test_rows_that_commit_late),
        cmocka_unit_test(test_a_million_in_bounded_memory),
        cmocka_unit_test(test_bad_input),
        cmocka_unit_test(test_broken_surroundings),
    };

    if (getenv("ONLY") != NULL)
        cmocka_set_test_filter(getenv("ONLY"));
    return cmocka_run_group_tests(tests, start, stop);
}
