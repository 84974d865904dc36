/* `outboxd top` on a terminal, before a relay that works, waits, dies and comes back. */
#include "../support/check.h"
#include "../support/loopback.h"
#include "../support/mock_kafka.h"
#include "../support/outboxd.h"
#include "../support/pg.h"
#include "../support/pty.h"

#include "base/problem.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PATIENCE_MS 20000
#define ENTERED     "\033[?1049h"
#define LEFT        "\033[?25h\033[?1049l"

static struct pg_server pg;
static struct mock_kafka kafka;
static struct outboxd relay;
static PGconn *owner;
static char output[OUTBOXD_OUT];

static int once(const char *const *more, const char *wanted)
{
    int code = outboxd_command(&relay, "top", more, output);

    assert_contains(output, wanted);
    assert_null(strchr(output, '\033'));
    return code;
}

static void start_top_of(struct pty *p, const struct outboxd *o, unsigned columns, unsigned rows)
{
    pty_start(p, (const char *const[]){outboxd_binary(), "top", "-c", o->config, NULL},
              (const char *const[]){"LC_ALL=C", NULL}, columns, rows);
    pty_wait(p, ENTERED, PATIENCE_MS);
}

static void start_top(struct pty *p, unsigned columns, unsigned rows)
{
    start_top_of(p, &relay, columns, rows);
}

/* It ends, with its own screen left and the terminal as it was. */
static void assert_leaves(struct pty *p)
{
    assert_int_equal(pty_wait_end(p, PATIENCE_MS), 0);
    assert_contains(p->got.data, LEFT);
    assert_true(pty_is_as_before(p));
    pty_close(p);
}

static void quit(struct pty *p)
{
    pty_type(p, "q");
    assert_leaves(p);
}

static void write_events(int count)
{
    pg_exec(owner,
            "SELECT outbox.publish('order', (i %% 7)::text, 'order.placed', '{\"a\": 1}') "
            "FROM generate_series(1, %d) i",
            count);
}

/* ---- one picture
 * -------------------------------------------------------------------------------------------------
 */

static void test_once(void **state)
{
    const char *line;
    size_t len;

    (void)state;
    write_events(1234);
    outboxd_wait_drained(&relay, PATIENCE_MS);
    WAIT_UNTIL(outboxd_command(&relay, "top", NULL, output) == 0 &&
                   strstr(output, "1,234 events") != NULL && strstr(output, "\n  unsent      0 ev"),
               PATIENCE_MS);
    assert_contains(output, "relay orders: ok (leading)\n");
    assert_contains(output, "latency     p50 ");
    assert_contains(output, "of 50,000 events\n");
    assert_contains(output, "takeovers 1, reconnects 0, recoveries 0\n");
    assert_contains(output, "lease taken");
    assert_lacks(output, "?"); /* everything it shows is in the answer, with the name it expects */
    for (line = output; *line != '\0'; line += len + 1) {
        len = strcspn(line, "\n");
        assert_true(len <= 80);
    }
    assert_int_equal(once((const char *const[]){"--once", NULL}, "relay orders: ok"), 0);
}

static void test_url(void **state)
{
    char url[64];

    (void)state;
    (void)snprintf(url, sizeof url, "--url=http://localhost:%d/", relay.http_port);
    assert_int_equal(once((const char *const[]){url, NULL}, "relay orders: ok"), 0);
    (void)snprintf(url, sizeof url, "--url=127.0.0.1:%d", relay.http_port);
    assert_int_equal(once((const char *const[]){url, NULL}, "relay orders: ok"), 0);
    assert_int_equal(once((const char *const[]){"--url=https://localhost", NULL}, "no address"),
                     64);
    assert_int_equal(once((const char *const[]){"--url=localhost:1/x", NULL}, "no address"), 64);
    assert_int_equal(once((const char *const[]){"--url=localhost:1", NULL}, "refused"), 69);
    assert_int_equal(once((const char *const[]){"--url=[::1", NULL}, "no address"), 64);
    /* what answers there is something else */
    (void)snprintf(url, sizeof url, "--url=127.0.0.1:%d", pg.port);
    assert_int_equal(once((const char *const[]){url, NULL}, url + 6), 69);
}

static void test_listens_nowhere(void **state)
{
    struct outboxd silent;
    char out[OUTBOXD_OUT];

    (void)state;
    outboxd_configure(&silent, &pg, kafka.brokers, NULL, "http: {listen: \"\"}");
    assert_int_equal(outboxd_command(&silent, "top", NULL, out), 78);
    assert_contains(out, "http.listen is empty");
}

/* Another relay has the address that the configuration names. */
static void test_strange_relay(void **state)
{
    struct outboxd other;
    char text[512];
    char out[OUTBOXD_OUT];

    (void)state;
    (void)snprintf(text, sizeof text,
                   "kafka: {brokers: \"x:1\"}\nrelay: {name: payments}\n"
                   "http: {listen: \"127.0.0.1:%d\"}\n",
                   relay.http_port);
    outboxd_configure_text(&other, text);
    assert_int_equal(outboxd_command(&other, "top", NULL, out), 69);
    assert_contains(out, "the relay orders answers there, not payments");
}

/* ---- a live picture
 * ---------------------------------------------------------------------------------------------- */

static void test_live(void **state)
{
    struct pty p;

    (void)state;
    start_top(&p, 80, 24);
    pty_wait(&p, "relay orders: ok (leading)", PATIENCE_MS);
    pty_wait(&p, "\033[24;1H", PATIENCE_MS); /* the footer, in the last row */
    pty_wait(&p, "q: quit", PATIENCE_MS);
    pty_forget(&p);
    write_events(766);
    pty_wait(&p, "2,000 events", PATIENCE_MS);
    /* it grows, and shrinks to what is hardly a terminal */
    pty_resize(&p, 120, 40);
    pty_wait(&p, "\033[40;1H", PATIENCE_MS);
    pty_resize(&p, 20, 4);
    pty_wait(&p, "\033[4;1H", PATIENCE_MS);
    quit(&p);
}

static void test_every_way_out(void **state)
{
    static const char *const keys[] = {"q", "Q", "\003", "\004", NULL};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        struct pty p;

        start_top(&p, 80, 24);
        pty_wait(&p, "q: quit", PATIENCE_MS);
        assert_false(pty_is_as_before(&p));
        if (keys[i] != NULL)
            pty_type(&p, keys[i]);
        else
            (void)kill(p.pid, SIGTERM);
        assert_leaves(&p);
    }
}

/* Stopped by Ctrl-Z, the shell has its screen; continued, it draws again. */
static void test_suspended(void **state)
{
    struct pty p;

    (void)state;
    start_top(&p, 80, 24);
    pty_wait(&p, "q: quit", PATIENCE_MS);
    pty_forget(&p);
    (void)kill(p.pid, SIGTSTP);
    pty_wait(&p, LEFT, PATIENCE_MS);
    pty_wait_stopped(&p, PATIENCE_MS);
    assert_true(pty_is_as_before(&p));
    pty_forget(&p);
    (void)kill(p.pid, SIGCONT);
    pty_wait(&p, ENTERED, PATIENCE_MS);
    pty_wait(&p, "relay orders", PATIENCE_MS);
    quit(&p);
}

/* The relay dies: top says so, keeps the last picture, and sees it come back. */
static void test_relay_away(void **state)
{
    struct pty p;

    (void)state;
    start_top(&p, 80, 24);
    pty_wait(&p, "relay orders: ok", PATIENCE_MS);
    outboxd_kill9(&relay);
    pty_forget(&p);
    pty_wait(&p, "NO ANSWER for ", PATIENCE_MS);
    pty_wait(&p, "Connection refused; trying again", PATIENCE_MS);
    outboxd_start(&relay);
    pty_forget(&p);
    pty_wait(&p, "published   0 events", PATIENCE_MS);
    pty_wait(&p, "relay orders: ok", PATIENCE_MS);
    quit(&p);
}

/* One that takes connections and never answers must not keep anybody in top. */
static void test_silent_server(void **state)
{
    struct outboxd other;
    char text[512];
    struct pty p;
    int port = port_free();
    int fd = loopback_listen(port, 16);

    (void)state;
    assert_true(fd >= 0);
    (void)snprintf(text, sizeof text,
                   "kafka: {brokers: \"x:1\"}\nhttp: {listen: \"127.0.0.1:%d\"}\n", port);
    outboxd_configure_text(&other, text);
    start_top_of(&p, &other, 80, 24);
    pty_wait(&p, "NO ANSWER for ", PATIENCE_MS);
    pty_wait(&p, "no answer in time", PATIENCE_MS);
    quit(&p);
    (void)close(fd);
}

/* Kafka goes: the word and the advice of the table of problems. Last, because it does not come
 * back.
 */
static void test_trouble(void **state)
{
    struct pty p;
    char advice[32];

    (void)state;
    start_top(&p, 100, 30);
    pty_wait(&p, "relay orders: ok", PATIENCE_MS);
    mock_kafka_stop(&kafka);
    write_events(3);
    pty_wait(&p, "relay orders: waiting", 60000);
    pty_wait(&p, "trouble     broker_unreachable, for ", PATIENCE_MS);
    (void)snprintf(advice, sizeof advice, "what to do  %.16s",
                   problem_advice(PROBLEM_BROKER_UNREACHABLE));
    pty_wait(&p, advice, PATIENCE_MS);
    pty_wait(&p, "unsent      3 events, the oldest ", PATIENCE_MS);
    quit(&p);
}

static int set_up(void **state)
{
    (void)state;
    pg_create(&pg, NULL);
    pg_apply_schema(&pg);
    owner = pg_open(&pg, NULL);
    mock_kafka_start(&kafka, "order-events:4");
    outboxd_configure(&relay, &pg, kafka.brokers, NULL, NULL);
    outboxd_start(&relay);
    outboxd_wait_log(&relay, "lease taken", PATIENCE_MS);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    PQfinish(owner);
    outboxd_kill9(&relay);
    pg_drop(&pg);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_once),
        cmocka_unit_test(test_url),
        cmocka_unit_test(test_listens_nowhere),
        cmocka_unit_test(test_strange_relay),
        cmocka_unit_test(test_live),
        cmocka_unit_test(test_every_way_out),
        cmocka_unit_test(test_suspended),
        cmocka_unit_test(test_silent_server),
        cmocka_unit_test(test_relay_away),
        cmocka_unit_test(test_trouble),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
