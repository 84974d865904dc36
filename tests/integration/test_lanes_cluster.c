/* Everything that makes a lane, at once, on three brokers that ask for a password: a topic deleted,
 * one that may not be written, a partition without a leader, a poison key. All other events flow as
 * fast as before, through SIGKILL and takeovers; after the repair everything arrives, in order. */
#include "lanes_case.h"

#include "../support/kafka_acl.h"

#include <stdio.h>

#define GONE   "gone-events"
#define HIDDEN "hidden-events"
#define SOLO   "solo-events" /* one replica of each partition, and each broker has one of them */
#define VICTIM 2             /* the broker that dies */

#define SLICE_EVENTS 30000

static struct control control;

static void configure(struct outboxd *o, const struct pg_server *server, const char *instance,
                      const char *routes)
{
    char text[2048];
    const int port = port_free();

    (void)snprintf(text, sizeof text,
                   "postgres: {url: \"%s\"}\n"
                   "kafka:\n  brokers: \"%s\"\n  properties: {security.protocol: SASL_PLAINTEXT, "
                   "sasl.mechanism: PLAIN, sasl.username: " KAFKA_USER
                   ", sasl.password: " KAFKA_PASSWORD "}\n"
                   "relay: {name: orders, instance: %s, lease_ttl: 2s, stall_after: 3s}\n"
                   "http: {listen: \"127.0.0.1:%d\"}\n%s",
                   pg_url(server, "relay", "postgres").text, kafka_secured_brokers(&kafka),
                   instance, port, routes);
    outboxd_configure_text(o, text);
    o->http_port = port;
}

/* However many brokers there are. */
static void create_single_copy(const char *name, int partitions)
{
    struct kafka of_one = kafka;

    of_one.nodes = 1; /* replicas of a topic */
    kafka_create_topic(&of_one, name, partitions, NULL);
}

/* So many events for each of the topics that will be in trouble, over six keys each. */
static void publish_for_troubled(int events)
{
    pg_exec(owner,
            "INSERT INTO outbox.event (aggregate_type, aggregate_id, event_type, payload) "
            "SELECT t, t || '-' || i %% 6, 'order.placed', '{}' "
            "FROM generate_series(1, %d) i, unnest('{gone, hidden, solo}'::text[]) t",
            events);
}

static void break_everything(void)
{
    kafka_delete_topic(&kafka, GONE);
    kafka_forbid_topic(&kafka, HIDDEN);
    kafka_show_topic(&kafka, HIDDEN);
    kafka_kill9(&kafka, VICTIM);
    publish("order", "poison", POISON);
    publish("order", "poison", "'{}'");
    publish_for_troubled(600);
}

static void repair_everything(struct outboxd *leader)
{
    kafka_start(&kafka, VICTIM);
    kafka_wait_ready(&kafka, 3, 60000);
    kafka_allow_topic(&kafka, HIDDEN);
    kafka_create_topic(&kafka, GONE, 3, NULL);
    let_poison_in();
    proc_signal(&leader->proc, SIGHUP);
}

static bool there_is(const char *lane)
{
    return pg_int(owner, LANES " AND %s", lane) > 0;
}

/* What must be there until it is mended. Others may come and go: partitions of the topic while it
 * is being deleted, and those that the dead broker led until they have another leader. */
static bool all_lanes_are_there(void)
{
    return there_is("key = 'poison' AND cause = 'message_too_large'") &&
           there_is("filter = 'topic' AND topic = '" GONE "' AND cause = 'topic_missing'") &&
           there_is("filter = 'topic' AND topic = '" HIDDEN "' AND cause = 'topic_forbidden'") &&
           there_is("filter = 'partition' AND topic = '" SOLO "'");
}

static void await_troubled_lanes(const struct outboxd *leader)
{
    WAIT_UNTIL(all_lanes_are_there(), 60000);
    WAIT_UNTIL(!there_is("topic = '" TOPIC "' AND filter <> 'key'"), 60000);
    WAIT_UNTIL(number("SELECT count(row_id) FROM outbox.lane WHERE key = 'poison'") == 1,
               PATIENCE_MS);
    assert_int_equal(outboxd_command(leader, "parked", WORDS("list"), out), 0);
    assert_contains(out, "key \"poison\" of topic " TOPIC);
    assert_contains(out, "topic " GONE);
    assert_contains(out, "topic " HIDDEN);
    assert_contains(out, " of topic " SOLO);
    assert_int_equal(metric(leader, "outboxd_ready"), 1);
}

/* The leader dies, the other one takes over with all lanes; the dead one is started again. */
static struct outboxd *kill_leader(struct outboxd *leader)
{
    struct outboxd *next = leader == &relay ? &other : &relay;

    outboxd_log_truncate(next);
    outboxd_kill9(leader);
    outboxd_wait_log(next, "lease taken", PATIENCE_MS);
    outboxd_start(leader);
    assert_true(all_lanes_are_there());
    publish_for_troubled(60);
    publish("order", "poison", "'{}'");
    return next;
}

static void test_all_at_once(void **state)
{
    struct outboxd *leader = &relay;
    struct load *load;
    double broken;
    char where[128];
    int64_t gone;

    (void)state;
    outboxd_start(&relay);
    outboxd_wait_log(&relay, "lease taken", PATIENCE_MS);
    outboxd_start(&other);
    outboxd_start(&control.relay);
    outboxd_wait_log(&control.relay, "lease taken", PATIENCE_MS);
    load = load_start(&(struct load_params){
        .pg = &pg, .writers = 3, .cold_keys = 100, .seed = 81, .max_pause_ms = 20});
    publish_for_troubled(60);
    gone = number("SELECT max(id) FROM outbox.event WHERE aggregate_type = 'gone'");
    WAIT_UNTIL(kafka_record_count(kafka_brokers(&kafka), GONE) == 60, PATIENCE_MS);

    break_everything();
    await_troubled_lanes(leader);
    broken = race_of_backlogs(leader, &control, SLICE_EVENTS);
    CHECK(broken >= 0.9, "%.2f times as fast as without lanes", broken);
    for (int i = 0; i < 2; i++)
        leader = kill_leader(leader);
    await_troubled_lanes(leader);

    repair_everything(leader);
    await_lanes(LANES, 0);
    load_free(load);
    outboxd_wait_drained(leader, 60000);
    assert_int_equal(outboxd_stop(leader == &relay ? &other : &relay), 0);
    assert_int_equal(outboxd_stop(leader), 0);
    (void)snprintf(where, sizeof where, "e.aggregate_type <> 'gone' OR e.id > %lld",
                   (long long)gone);
    /* a window for each that was killed, and as much for each producer that was thrown away */
    assert_published(where, 500000);
}

static int setup_topics(void **state)
{
    (void)setup(state);
    kafka_create_topic(&kafka, TOPIC, 3, NULL);
    kafka_create_topic(&kafka, GONE, 3, NULL);
    kafka_create_topic(&kafka, HIDDEN, 3, NULL);
    create_single_copy(SOLO, 3);
    kafka_allow_topic(&kafka, TOPIC);
    kafka_allow_topic(&kafka, GONE);
    kafka_allow_topic(&kafka, HIDDEN);
    kafka_allow_topic(&kafka, SOLO);
    control_begin(&control);
    kafka_allow_topic(&kafka, CONTROL_TOPIC);
    configure(&control.relay, &control.pg, "c", CONTROL_ROUTES);
    configure(&relay, &pg, "a", PARK);
    configure(&other, &pg, "b", PARK);
    return 0;
}

static int teardown_topics(void **state)
{
    control_end(&control);
    return teardown(state);
}

static int start_three(void **state)
{
    static const char *const quick[] = {"broker.session.timeout.ms=2000",
                                        "broker.heartbeat.interval.ms=300", NULL};

    (void)state;
    kafka_create(&kafka, &(struct kafka_params){.nodes = 3,
                                                .heap_mib = 256,
                                                .own_controller = true,
                                                .secured = true,
                                                .settings = quick});
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_all_at_once, setup_topics, teardown_topics),
    };

    cmocka_set_test_filter(getenv("ONLY"));
    return cmocka_run_group_tests_name("lanes of a cluster", tests, start_three, teardown_kafka);
}
