/* Lanes on a real broker: what cannot be sent waits alone, in order, until it can; everything else
 * flows. */
#include "lanes_case.h"

#include <stdio.h>

/* From now until all but the lane is settled; told, and held against the limit. */
static void assert_flows_again(uint64_t since_ms, const char *what)
{
    int ms;

    WAIT_UNTIL(main_is_done(), PATIENCE_MS);
    ms = (int)(test_now_ms() - since_ms);
    print_message("%s: the others have arrived after %d ms\n", what, ms);
    assert_in_range(ms, 0, FLOW_AGAIN_MS);
}

/* The lane is there, named by everything that tells of lanes. */
static void assert_told(int64_t poison)
{
    const char *id =
        pg_scalar(owner, "SELECT event_id FROM outbox.event WHERE id = %lld", (long long)poison);

    await_lanes(LANES_BY("key"), 1);
    assert_int_equal(number(LANES), 1);
    /* its first try names the event */
    WAIT_UNTIL(pg_int(owner,
                      "SELECT count(*) FROM outbox.lane WHERE key = 'hot' AND topic = '" TOPIC
                      "' AND cause = 'message_too_large' AND row_id = %lld",
                      (long long)poison) == 1,
               PATIENCE_MS);
    parked(0, WORDS("list"));
    assert_contains(out, "relay orders: 1 lane\n");
    assert_contains(out, "key \"hot\" of topic " TOPIC);
    assert_contains(out, "message_too_large");
    assert_contains(out, id);
    assert_int_equal(outboxd_command(&relay, "status", NULL, out), 0);
    assert_contains(out, "wait: 1 key; see `outboxd parked list`");
    assert_lacks(out, "hot");
    assert_true(outboxd_log_has(&relay, "set aside"));
    WAIT_UNTIL(number("SELECT count(trouble_cause) FROM outbox.relay") == 0, PATIENCE_MS);
    assert_int_equal(metric(&relay, "outboxd_lanes_made_total"), 1);
    WAIT_UNTIL(metric(&relay, "outboxd_lanes_for_person") == 1, PATIENCE_MS); /* not while tried */
    assert_int_equal(metric(&relay, "outboxd_ready"), 1);
}

/* The topic allows it from now on, and the operator says so. */
static void repair_and_retry(void)
{
    let_poison_in();
    parked(0, WORDS("retry", "--key", "hot", "--yes"));
    CHECK(strstr(out, "tried") != NULL || number(LANES) == 0, "%s",
          out); /* or it tried by itself */
    await_merged();
}

/* ---- one poison event --------------------------------------------------------------------------
 */

static void poison_in_a_batch(int events, const char *what)
{
    uint64_t begun;

    kafka_create_topic(&kafka, TOPIC, 1, NULL);
    outboxd_configure(&relay, &pg, kafka_brokers(&kafka), NULL, PARK);
    outboxd_start(&relay);
    publish("order", "k1", "'{}'");
    outboxd_wait_drained(&relay, PATIENCE_MS);
    publish_around(events, events / 2);
    begun = test_now_ms();
    assert_flows_again(begun, what);
    assert_told(poison_row());
    assert_only_its_key_waits(poison_row(), twice());
    repair_and_retry();
    assert_int_equal(metric(&relay, "outboxd_lanes_merged_total"), 1);
    assert_all_published(NULL);
}

static void test_in_the_middle_of_a_batch(void **state)
{
    (void)state;
    poison_in_a_batch(400, "a poison event among 400");
}

/* As many as the window holds, in many batches of the producer. */
static void test_in_the_middle_of_a_large_batch(void **state)
{
    (void)state;
    poison_in_a_batch(40000, "a poison event among 40,000");
}

/* Brokers accept any first sequence number, so what is behind it must not be sent before. */
static void test_as_the_first_message_of_a_fresh_producer(void **state)
{
    (void)state;
    kafka_create_topic(&kafka, TOPIC, 1, NULL);
    outboxd_configure(&relay, &pg, kafka_brokers(&kafka), NULL, PARK);
    publish("order", "hot", POISON);
    publish_around(400, 0);
    outboxd_start(&relay);
    outboxd_wait_log(&relay, "lease taken", PATIENCE_MS);
    assert_flows_again(test_now_ms(), "a poison event first of all");
    assert_told(poison_row());
    assert_only_its_key_waits(poison_row(), twice());
    repair_and_retry();
    assert_all_published(NULL);
}

/* The longest time without an event acknowledged, from now on for so long. */
static int longest_pause_ms(int for_ms)
{
    const uint64_t begun = test_now_ms();
    uint64_t moved = begun;
    uint64_t now;
    double count = 0;
    int longest = 0;

    do {
        double next = metric(&relay, "outboxd_events_published_total{route=\"all\"}");

        now = test_now_ms();
        if (now - moved > (uint64_t)longest)
            longest = (int)(now - moved);
        if (next > count)
            moved = now;
        count = next;
        test_sleep_ms(5);
    } while (now - begun < (uint64_t)for_ms);
    return longest;
}

/* Half of a steady load goes to a few keys; one of them gets a poison event with more behind it. */
static void test_at_the_head_of_a_hot_key(void **state)
{
    struct load *load;
    int pause;

    (void)state;
    kafka_create_topic(&kafka, TOPIC, 3, NULL);
    outboxd_configure(&relay, &pg, kafka_brokers(&kafka), NULL, PARK);
    outboxd_start(&relay);
    load = load_start(&(struct load_params){
        .pg = &pg, .writers = 4, .hot_keys = 2, .cold_keys = 50, .seed = 71, .max_pause_ms = 8});
    WAIT_UNTIL(load_committed(load) > 200, PATIENCE_MS);
    pg_exec(owner, "BEGIN");
    pg_exec(owner, "UPDATE public.load_aggregate SET seq = seq + 1 WHERE key = 'key-0'");
    pg_exec(owner,
            "SELECT outbox.publish('order', key, 'order.placed', json_build_object('seq', seq, "
            "'pad', " POISON ")) FROM public.load_aggregate WHERE key = 'key-0'");
    pg_exec(owner, "COMMIT");
    pause = longest_pause_ms(4000);
    print_message("a poison event in a hot key: nothing acknowledged for %d ms\n", pause);
    assert_in_range(pause, 0, FLOW_AGAIN_MS);
    await_lanes(LANES_BY("key"), 1);
    assert_int_equal(number(LANES), 1);
    assert_int_equal(number("SELECT count(*) FROM outbox.lane WHERE key = 'key-0'"), 1);
    let_poison_in();
    parked(0, WORDS("retry", "--all", "--yes"));
    await_lanes(LANES, 0); /* it catches up with writers that go on */
    load_stop(load);
    outboxd_wait_drained(&relay, PATIENCE_MS);
    load_free(load);
    assert_all_published(NULL);
}

/* ---- many of them ------------------------------------------------------------------------------
 */

/* Several keys at a time, and one more than may have a lane each: then the topic waits. */
static void test_more_keys_than_lanes(void **state)
{
    (void)state;
    kafka_create_topic(&kafka, TOPIC, 2, NULL);
    kafka_create_topic(&kafka, "audit-events", 1, NULL);
    outboxd_configure(&relay, &pg, kafka_brokers(&kafka), ", max_lanes: 2, lanes_in_parallel: 1",
                      PARK);
    outboxd_start(&relay);
    for (int i = 1; i <= 3; i++) {
        char key[16];

        (void)snprintf(key, sizeof key, "p%d", i);
        publish("order", key, POISON);
        publish("order", key, "'{}'");
        publish("order", "k", "'{}'");
        publish("audit", "k", "'{}'");
    }
    await_lanes(LANES_BY("topic"), 1);
    await_lanes(LANES_BY("key"), 2);
    WAIT_UNTIL(main_is_done(), PATIENCE_MS);
    publish("order", "k", "'{}'");
    publish("audit", "k", "'{}'");
    WAIT_UNTIL(main_is_done(), PATIENCE_MS);
    WAIT_UNTIL(kafka_record_count(kafka_brokers(&kafka), "audit-events") >= 4, PATIENCE_MS);
    let_poison_in();
    parked(0, WORDS("retry", "--error", "message_too_large", "--yes"));
    await_merged();
    assert_all_published(NULL);
    drop_topic("audit-events");
}

/* SIGHUP tries them all. */
static void test_sighup_tries_lanes(void **state)
{
    (void)state;
    kafka_create_topic(&kafka, TOPIC, 1, NULL);
    outboxd_configure(&relay, &pg, kafka_brokers(&kafka), NULL, PARK);
    outboxd_start(&relay);
    publish("order", "hot", POISON);
    publish("order", "hot", "'{}'");
    await_lanes(LANES_BY("key"), 1);
    /* 1, 2, 4 and 8 s: from then on it would wait for longer than this test */
    WAIT_UNTIL(number("SELECT attempts FROM outbox.lane WHERE id > 0") >= 4, PATIENCE_MS);
    let_poison_in();
    proc_signal(&relay.proc, SIGHUP);
    await_lanes(LANES, 0);
    outboxd_wait_drained(&relay, PATIENCE_MS);
    assert_all_published(NULL);
}

/* ---- a topic
 * --------------------------------------------------------------------------------------
 */

/* One row for all of its events; they come by themselves once the topic is there again. */
static void test_a_topic_is_deleted_and_made_again(void **state)
{
    char where[160];
    struct load *load;
    int64_t gone;

    (void)state;
    kafka_create_topic(&kafka, TOPIC, 3, NULL);
    kafka_create_topic(&kafka, "audit-events", 2, NULL);
    outboxd_configure(&relay, &pg, kafka_brokers(&kafka), NULL, PARK);
    outboxd_start(&relay);
    load = load_start(&(struct load_params){
        .pg = &pg, .writers = 3, .cold_keys = 50, .seed = 72, .max_pause_ms = 8});
    for (int i = 0; i < 50; i++)
        publish("audit", i % 2 == 0 ? "a" : "b", "'{}'");
    WAIT_UNTIL(kafka_record_count(kafka_brokers(&kafka), "audit-events") == 50, PATIENCE_MS);
    gone = number("SELECT max(id) FROM outbox.event WHERE aggregate_type = 'audit'");
    kafka_delete_topic(&kafka, "audit-events");
    for (int i = 0; i < 500; i++)
        publish("audit", i % 2 == 0 ? "a" : "b", "'{}'");
    await_lanes(LANES_BY("topic"), 1);
    assert_int_equal(number(LANES), 1);
    parked(0, WORDS("list"));
    assert_contains(out, "topic audit-events");
    assert_contains(out, "topic_missing");
    assert_in_range(longest_pause_ms(2000), 0, FLOW_AGAIN_MS);
    kafka_create_topic(&kafka, "audit-events", 2, NULL);
    await_lanes(LANES, 0);
    load_free(load);
    outboxd_wait_drained(&relay, PATIENCE_MS);
    (void)snprintf(where, sizeof where, "e.aggregate_type <> 'audit' OR e.id > %lld",
                   (long long)gone);
    assert_all_published(where);
    drop_topic("audit-events");
}

/* ---- the kept log ------------------------------------------------------------------------------
 */

/* What waits is not lost, and is not replayed: the lane will publish it. */
static void test_verify_and_replay_beside_a_lane(void **state)
{
    (void)state;
    kafka_create_topic(&kafka, TOPIC, 1, NULL);
    outboxd_configure(&relay, &pg, kafka_brokers(&kafka), NULL, PARK);
    outboxd_start(&relay);
    publish_around(400, 200);
    await_lanes(LANES_BY("key"), 1);
    WAIT_UNTIL(main_is_done() && number("SELECT count(row_id) FROM outbox.lane") == 1, PATIENCE_MS);
    assert_int_equal(outboxd_command(&relay, "verify", NULL, out), 0);
    assert_contains(out, "relay orders: clean");
    assert_int_equal(outboxd_command(&relay, "replay", WORDS("--key", "hot", "--yes"), out), 0);
    assert_contains(out, "19 events acknowledged");
    assert_contains(out, "21 more match, but are not published yet");
    repair_and_retry();
    assert_int_equal(outboxd_command(&relay, "verify", NULL, out), 0);
    assert_contains(out, "relay orders: clean");
    assert_contains(out, "400, of them 400 published");
    assert_contains(out, "of them 19 replayed");
    assert_int_equal(outboxd_stop(&relay), 0);
}

/* ---- takeovers ---------------------------------------------------------------------------------
 */

/* Processes of two instances: none takes the other's lease while it stands. */
static void configure_as(struct outboxd *o, const char *instance, const char *more)
{
    char text[1024];
    const int port = port_free();

    (void)snprintf(text, sizeof text,
                   "postgres: {url: \"%s\"}\nkafka: {brokers: \"%s\"}\n"
                   "relay: {name: orders, instance: %s%s}\nhttp: {listen: \"127.0.0.1:%d\"}\n" PARK,
                   pg_url(&pg, "relay", "postgres").text, kafka_brokers(&kafka), instance, more,
                   port);
    outboxd_configure_text(o, text);
    o->http_port = port;
}

/* Whoever leads knows the lanes, tries them, and sends nothing of them too early. */
static void test_killed_with_lanes(void **state)
{
    static const char who[] = ", lease_ttl: 1s, window_events: 2000";
    struct load *load;
    struct outboxd *leader = &relay;

    (void)state;
    kafka_create_topic(&kafka, TOPIC, 2, NULL);
    configure_as(&relay, "a", who);
    configure_as(&other, "b", who);
    outboxd_start(&relay);
    outboxd_wait_log(&relay, "lease taken", PATIENCE_MS);
    load = load_start(&(struct load_params){
        .pg = &pg, .writers = 3, .cold_keys = 50, .seed = 73, .max_pause_ms = 8});
    publish_around(400, 200);
    publish("audit", "k", "'{}'");
    await_lanes(LANES_BY("key"), 1);
    await_lanes(LANES_BY("topic"), 1);
    for (int i = 0; i < 3; i++) {
        struct outboxd *next = leader == &relay ? &other : &relay;

        outboxd_log_truncate(next);
        outboxd_start(next);
        outboxd_wait_log(next, "standing by", PATIENCE_MS);
        outboxd_kill9(leader);
        outboxd_wait_log(next, "lease taken", PATIENCE_MS);
        leader = next;
        assert_int_equal(number(LANES), 2);
        publish("order", "hot", "'{}'");
        publish("audit", "k", "'{}'");
        WAIT_UNTIL(metric(leader, "outboxd_lane_tries_total") >= 2, PATIENCE_MS);
    }
    let_poison_in();
    kafka_create_topic(&kafka, "audit-events", 1, NULL);
    proc_signal(&leader->proc, SIGHUP);
    await_lanes(LANES, 0);
    load_free(load);
    outboxd_wait_drained(leader, PATIENCE_MS);
    assert_int_equal(outboxd_stop(leader), 0);
    /* a window for each that was killed, and what the producers of refusals held */
    assert_published(NULL, 10 * 2000);
    drop_topic("audit-events");
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_in_the_middle_of_a_batch),
        CASE(test_in_the_middle_of_a_large_batch),
        CASE(test_as_the_first_message_of_a_fresh_producer),
        CASE(test_at_the_head_of_a_hot_key),
        CASE(test_more_keys_than_lanes),
        CASE(test_sighup_tries_lanes),
        CASE(test_a_topic_is_deleted_and_made_again),
        CASE(test_verify_and_replay_beside_a_lane),
        CASE(test_killed_with_lanes),
    };

    cmocka_set_test_filter(getenv("ONLY"));
    return cmocka_run_group_tests_name("lanes", tests, setup_kafka, teardown_kafka);
}
