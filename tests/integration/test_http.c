/* The endpoints of the whole program: what each answers in each state, to clients of every kind,
 * while the relay does its work. */
#include "relay_case.h"

#include "../support/http.h"
#include "../support/loopback.h"

#include <jansson.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORDS(...)  ((const char *const[]){__VA_ARGS__, NULL})
#define PATIENCE_MS 10000

static struct http_answer answer;

static int get(const char *path)
{
    http_answer_release(&answer);
    answer = http_get(relay.http_port, path, 5000);
    return answer.code;
}

/* The member at "a.b.c" of /status or /readyz, good until the next look; fails when there is none.
 */
static json_t *member(const char *page, const char *path)
{
    static json_t *doc;
    json_t *at;
    char names[128];
    char *rest = NULL;

    (void)get(page);
    json_decref(doc);
    at = doc = json_loads(answer.body == NULL ? "" : answer.body, 0, NULL);
    (void)snprintf(names, sizeof names, "%s", path);
    for (char *name = strtok_r(names, ".", &rest); name != NULL; name = strtok_r(NULL, ".", &rest))
        at = json_object_get(at, name);
    CHECK(at != NULL, "%s has no %s: %d %s", page, path, answer.code,
          answer.body == NULL ? "" : answer.body);
    return at;
}

static const char *text_at(const char *page, const char *path)
{
    const char *text = json_string_value(member(page, path));

    return text == NULL ? "" : text;
}

/* The value of a series of /metrics; -1: there is none. */
static double metric(const char *series)
{
    char wanted[256];
    const char *at;

    assert_int_equal(get("/metrics"), 200);
    (void)snprintf(wanted, sizeof wanted, "\n%s ", series);
    at = strstr(answer.body, wanted);
    return at == NULL ? -1 : strtod(at + strlen(wanted), NULL);
}

static void assert_metric(const char *series, double wanted)
{
    double got = metric(series);

    CHECK(got - wanted < 1e-9 && wanted - got < 1e-9, "%s is %g, not %g", series, got, wanted);
}

static void wait_ready(void)
{
    WAIT_UNTIL(get("/readyz") == 200, PATIENCE_MS);
    assert_string_equal(answer.body, "ok\n");
}

/* 503 with that word and its texts, within the time; /livez stays 200 and /metrics tells the same.
 */
static void wait_not_ready(enum problem p)
{
    char series[128];

    WAIT_UNTIL(get("/readyz") == 503 && strstr(answer.body, problem_word(p)) != NULL, 20000);
    assert_contains(answer.head, "application/json");
    assert_string_equal(text_at("/readyz", "problem"), problem_word(p));
    assert_string_equal(text_at("/readyz", "what"), problem_what(p));
    assert_string_equal(text_at("/readyz", "todo"), problem_advice(p));
    assert_string_equal(text_at("/status", "problem.word"), problem_word(p));
    assert_int_equal(get("/livez"), 200);
    assert_metric("outboxd_ready", 0);
    (void)snprintf(series, sizeof series, "outboxd_trouble{cause=\"%s\"}", problem_word(p));
    assert_metric(series, 1);
}

static void configure(const char *relay_extra, const char *extra)
{
    outboxd_configure(&relay, &pg, kafka_brokers(&kafka), relay_extra, extra);
}

/* What promtool says of /metrics; "" when it is content. */
static void assert_promtool_is_content(void)
{
    static const char *const argv[] = {"sh", "-c", "promtool check metrics < \"$0\" 2>&1", NULL,
                                       NULL};
    const char *words[5];
    char folder[PATH_SIZE];
    char in[PATH_SIZE];
    char out[PATH_SIZE];
    char *said;
    int rc;

    assert_int_equal(get("/metrics"), 200);
    assert_contains(answer.head, "text/plain; version=0.0.4");
    tmp_folder("promtool", folder);
    path_join(in, folder, "metrics");
    path_join(out, folder, "out");
    file_write(in, "%s", answer.body);
    file_write(out, "%s", "");
    memcpy(words, argv, sizeof words);
    words[3] = in;
    rc = proc_run(words, out, 30000);
    said = file_read(out);
    CHECK(rc == 0 && said[0] == '\0', "promtool: %d\n%s", rc, said);
    free(said);
}

/* Figures only: what a scrape costs the relay. */
static void print_cost(void)
{
    double before = metric("process_cpu_seconds_total");
    double after;

    for (int i = 0; i < 300; i++)
        assert_int_equal(get("/metrics"), 200);
    after = metric("process_cpu_seconds_total");
    print_message("a scrape: %zu bytes, %.0f us of processor; resident %.1f MB\n",
                  strlen(answer.body), (after - before) / 300 * 1e6,
                  metric("process_resident_memory_bytes") / 1e6);
}

/* ---- states ---- */

static void test_a_leader_at_work(void **state)
{
    (void)state;
    configure(NULL, "routes: [{name: orders, match: {aggregate_type: order}}]");
    start_leading(&relay);
    wait_ready();
    publish(1, 500);
    outboxd_wait_drained(&relay, PATIENCE_MS);
    assert_metric("outboxd_leader", 1);
    assert_metric("outboxd_ready", 1);
    assert_metric("outboxd_events_published_total{route=\"orders\"}", 500);
    assert_metric("outboxd_events_published_total{route=\"default\"}", 0);
    assert_metric("outboxd_delivery_seconds_count", 500);
    assert_metric("outboxd_takeovers_total", 1);
    assert_metric("outboxd_epoch", 1);
    assert_true(metric("process_resident_memory_bytes") > 1e6);
    WAIT_UNTIL(metric("outboxd_unsent_events") >= 0, PATIENCE_MS);
    WAIT_UNTIL(metric("outboxd_window_events") <= 0, PATIENCE_MS);
    assert_promtool_is_content();
    print_cost();
    assert_string_equal(text_at("/status", "relay"), "orders");
    assert_string_equal(text_at("/status", "state"), "leading");
    assert_true(json_is_null(member("/status", "problem")));
    assert_int_equal(json_integer_value(member("/status", "published.events")), 500);
    assert_int_equal(json_integer_value(member("/status", "latency.since_start.count")), 500);
    assert_true(json_number_value(member("/status", "latency.last_minute.p99_seconds")) > 0);
    assert_true(json_number_value(member("/status", "published.rate_60s")) > 0);
    assert_true(json_is_object(member("/status", "backlog")));
    assert_int_equal(get("/"), 200);
    assert_contains(answer.body, "/metrics");
    assert_int_equal(get("/nowhere"), 404);
    assert_int_equal(outboxd_stop(&relay), 0);
    assert_int_equal(get("/livez"), 0);
}

/* By one of the same length. */
static void replace_in_config(const char *part, const char *by)
{
    char *config = file_read(relay.config);
    char *at = strstr(config, part);

    assert_non_null(at);
    memcpy(at, by, strlen(part));
    file_write(relay.config, "%s", config);
    free(config);
}

static void test_a_standby_is_ready(void **state)
{
    int first_port;

    (void)state;
    configure(NULL, NULL);
    start_leading(&relay);
    other = relay;
    first_port = relay.http_port;
    configure(NULL, NULL);
    replace_in_config("instance: test", "instance: next"); /* one waits for another only */
    outboxd_start(&relay);
    outboxd_wait_log(&relay, "standing by", 10000);
    wait_ready();
    assert_metric("outboxd_leader", 0);
    assert_metric("outboxd_ready", 1);
    assert_string_equal(text_at("/status", "state"), "standby");
    assert_true(json_is_null(member("/status", "problem")));
    WAIT_UNTIL(metric("outboxd_unsent_events") == 0, PATIENCE_MS); /* it looks, too */
    outboxd_kill9(&other);
    assert_int_equal(http_get(first_port, "/livez", 1000).code, 0);
    WAIT_UNTIL(metric("outboxd_leader") == 1, 20000);
    wait_ready();
    assert_int_equal(outboxd_stop(&relay), 0);
}

static void test_the_database_is_away(void **state)
{
    (void)state;
    configure(NULL, NULL);
    start_leading(&relay);
    wait_ready();
    pg_crash(&pg);
    wait_not_ready(PROBLEM_DATABASE_UNREACHABLE);
    assert_true(strlen(text_at("/readyz", "text")) > 0);
    assert_true(metric("outboxd_reconnects_total{side=\"postgres\"}") >= 1);
    assert_true(metric("outboxd_errors_total{class=\"database_unreachable\"}") >= 1);
    assert_metric("outboxd_leader", 0);
    pg_start(&pg);
    wait_ready();
    assert_metric("outboxd_trouble{cause=\"database_unreachable\"}", -1);
    assert_true(json_is_null(member("/status", "problem")));
    assert_true(json_array_size(member("/status", "notes")) >= 3);
    PQfinish(owner);
    owner = pg_open(&pg, NULL);
    assert_int_equal(outboxd_stop(&relay), 0);
}

static void test_the_topic_is_missing(void **state)
{
    (void)state;
    configure(NULL, ROUTES_THAT_HALT);
    start_leading(&relay);
    publish(1, 3);
    wait_not_ready(PROBLEM_TOPIC_MISSING);
    assert_string_equal(text_at("/readyz", "topic"), TOPIC);
    assert_metric("outboxd_halted", 0);
    kafka_create_topic(&kafka, TOPIC, 3, NULL);
    wait_ready();
    outboxd_wait_drained(&relay, PATIENCE_MS);
    assert_int_equal(outboxd_stop(&relay), 0);
}

static void test_an_event_that_halts(void **state)
{
    static const char *const config[] = {"max.message.bytes", "20000", NULL};
    const char *culprit;

    (void)state;
    kafka_create_topic(&kafka, TOPIC, 1, config);
    configure(NULL, ROUTES_THAT_HALT);
    publish_padded("k", 1, 60000);
    culprit = pg_scalar(owner, "SELECT event_id FROM outbox.event");
    outboxd_start(&relay);
    wait_not_ready(PROBLEM_MESSAGE_TOO_LARGE);
    assert_metric("outboxd_halted", 1);
    assert_string_equal(text_at("/readyz", "event_id"), culprit);
    assert_true(json_number_value(member("/readyz", "next_try_seconds")) > 1);
    assert_promtool_is_content();
    WAIT_UNTIL(metric("outboxd_unsent_events") == 1, 15000);
    assert_true(metric("outboxd_oldest_unsent_seconds") > 0);
    assert_int_equal(outboxd_stop(&relay), 0);
}

/* ---- outboxd health ---- */

static void assert_health(const char *const *more, int code, const char *part)
{
    char out[OUTBOXD_OUT];

    CHECK(outboxd_command(&relay, "health", more, out) == code, "%s", out);
    assert_contains(out, part);
}

static void test_health(void **state)
{
    struct outboxd off;
    char listen[128];
    int port;

    (void)state;
    configure(NULL, NULL);
    assert_health(NULL, 69, "Connection refused");
    start_leading(&relay);
    wait_ready();
    assert_health(NULL, 0, "ready");
    assert_health(WORDS("--live"), 0, "alive");
    /* another relay that is told the same address is not taken for this one */
    port = relay.http_port;
    off = relay;
    (void)snprintf(listen, sizeof listen,
                   "kafka: {brokers: \"127.0.0.1:1\"}\nrelay: {name: payments}\n"
                   "http: {listen: \"127.0.0.1:%d\"}\n",
                   port);
    outboxd_configure_text(&relay, listen);
    assert_health(NULL, 69, "not the relay payments");
    outboxd_configure_text(&relay, "kafka: {brokers: \"127.0.0.1:1\"}\nhttp: {listen: \"\"}\n");
    assert_health(NULL, 78, "http.listen is empty");
    relay = off;
    pg_crash(&pg);
    wait_not_ready(PROBLEM_DATABASE_UNREACHABLE);
    assert_health(NULL, 69, "database_unreachable");
    assert_health(NULL, 69, problem_advice(PROBLEM_DATABASE_UNREACHABLE));
    assert_health(WORDS("--live"), 0, "alive");
    /* a process that hangs */
    proc_signal(&relay.proc, SIGSTOP);
    assert_health(WORDS("--live"), 69, "no answer in time");
    proc_signal(&relay.proc, SIGCONT);
    assert_health(WORDS("--live"), 0, "alive");
    pg_start(&pg);
    PQfinish(owner);
    owner = pg_open(&pg, NULL);
    wait_ready();
    assert_health(NULL, 0, "ready");
    assert_int_equal(outboxd_stop(&relay), 0);
}

/* ---- the address ---- */

static void test_a_taken_port_does_not_matter_to_the_relay(void **state)
{
    int fd;

    (void)state;
    configure(NULL, NULL);
    fd = loopback_listen(relay.http_port, 1);
    assert_true(fd >= 0);
    start_leading(&relay);
    publish(1, 10);
    outboxd_wait_drained(&relay, PATIENCE_MS);
    assert_int_equal(outboxd_log_count(&relay, problem_word(PROBLEM_HTTP_PORT_TAKEN)), 1);
    assert_true(outboxd_log_has(&relay, problem_advice(PROBLEM_HTTP_PORT_TAKEN)));
    (void)close(fd);
    outboxd_wait_log(&relay, "http: listening", PATIENCE_MS);
    assert_int_equal(outboxd_log_count(&relay, problem_word(PROBLEM_HTTP_PORT_TAKEN)), 1);
    wait_ready();
    /* what cannot change while it runs is said */
    replace_in_config("listen: \"127.0.0.1", "listen: \"127.0.0.2");
    proc_signal(&relay.proc, SIGHUP);
    outboxd_wait_log(&relay, "setting=http.listen", PATIENCE_MS);
    assert_int_equal(outboxd_stop(&relay), 0);
}

/* ---- rude clients ---- */

#define CROWD 400
#ifdef __SANITIZE_ADDRESS__
#define CROWD_KIB 1000000 /* what is freed is kept for a while */
#else
#define CROWD_KIB 8192
#endif

static pid_t start_hammering(void)
{
    pid_t pid = fork();

    if (pid != 0)
        return pid;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) {
        struct http_answer a = http_get(relay.http_port, "/metrics", 1000);

        http_answer_release(&a);
    }
}

/* Hundreds of sockets that say nothing, or half a request, or never read; one that asks for
 * everything as fast as it can. The relay publishes on, somebody who asks is served, and when they
 * are gone it is as before. */
static void test_rude_clients(void **state)
{
    struct load *load;
    int fds[CROWD];
    int fds_before;
    long rss_before;
    long rss_more;
    double published;
    pid_t hammer;

    (void)state;
    configure(NULL, NULL);
    start_leading(&relay);
    wait_ready();
    load = load_start(&(struct load_params){.pg = &pg, .seed = 5});
    test_sleep_ms(1500);
    fds_before = proc_fd_count(relay.proc.pid);
    rss_before = proc_rss_kib(relay.proc.pid);
    published = metric("outboxd_delivery_seconds_count");
    hammer = start_hammering();
    for (int i = 0; i < CROWD; i++) {
        static const char *const words[] = {"",
                                            "GET /status HTTP/1.1\r\nX: ", "POST / HTTP/1.1\r\n",
                                            "GET /status HTTP/1.1\r\n\r\n"};
        const char *word = words[i % 4];

        fds[i] = loopback_connect(relay.http_port, 0);
        assert_true(fds[i] >= 0);
        (void)send(fds[i], word, strlen(word), MSG_NOSIGNAL);
        if (i % 100 == 0)
            assert_int_equal(get("/readyz"), 200);
    }
    test_sleep_ms(1000);
    assert_int_equal(get("/livez"), 200);
    CHECK(proc_fd_count(relay.proc.pid) <= fds_before + 66, "%d descriptors, before %d",
          proc_fd_count(relay.proc.pid), fds_before);
    rss_more = proc_rss_kib(relay.proc.pid) - rss_before;
    print_message("%d rude clients: %ld KiB more, %.0f events meanwhile\n", CROWD, rss_more,
                  metric("outboxd_delivery_seconds_count") - published);
    CHECK(rss_more < CROWD_KIB, "%ld KiB more", rss_more);
    assert_true(metric("outboxd_delivery_seconds_count") > published);
    assert_metric("outboxd_reconnects_total{side=\"postgres\"}", 0);
    assert_metric("outboxd_reconnects_total{side=\"kafka\"}", 0);
    assert_metric("outboxd_takeovers_total", 1);
    (void)kill(hammer, SIGKILL);
    (void)waitpid(hammer, NULL, 0);
    for (int i = 0; i < CROWD; i++)
        (void)close(fds[i]);
    (void)load_stop(load);
    WAIT_UNTIL(proc_fd_count(relay.proc.pid) <= fds_before, 15000);
    outboxd_wait_drained(&relay, 15000);
    assert_oracle(load, 0);
    load_free(load);
    assert_int_equal(outboxd_stop(&relay), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_leader_at_work, setup_with_topic, teardown),
        cmocka_unit_test_setup_teardown(test_a_standby_is_ready, setup_with_topic, teardown),
        cmocka_unit_test_setup_teardown(test_the_database_is_away, setup_with_topic, teardown),
        cmocka_unit_test_setup_teardown(test_the_topic_is_missing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_event_that_halts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_health, setup_with_topic, teardown),
        cmocka_unit_test_setup_teardown(test_a_taken_port_does_not_matter_to_the_relay,
                                        setup_with_topic, teardown),
        cmocka_unit_test_setup_teardown(test_rude_clients, setup_with_topic, teardown),
    };
    const char *only = getenv("ONLY");

    if (only != NULL)
        cmocka_set_test_filter(only);
    return cmocka_run_group_tests(tests, setup_kafka, teardown_kafka);
}
