/* The sd_notify protocol, read at a socket of our own, and what the supervisor is told of the
 * relay's life. */
#include "../../support/check.h"

#include "app/sd_notify.h"
#include "app/supervisor.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int reader = -1;
static char folder[64];
static char name[108];

static void bind_reader(bool abstract)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    union {
        const struct sockaddr_un *un;
        const struct sockaddr *any;
    } at = {.un = &address};
    size_t len;

    (void)snprintf(name, sizeof name, "%s%s/notify", abstract ? "@" : "", folder);
    len = strlen(name);
    memcpy(address.sun_path, name, len);
    if (abstract)
        address.sun_path[0] = '\0';
    reader = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(reader >= 0);
    /* as the manager binds it: a path with its end, an abstract name without */
    assert_int_equal(
        bind(reader, at.any, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + !abstract)),
        0);
    assert_int_equal(setenv("NOTIFY_SOCKET", name, 1), 0);
}

/* The next datagram, "" when there is none; good until the next call. */
static const char *next(void)
{
    static char text[2048];
    ssize_t n = recv(reader, text, sizeof text - 1, 0);

    text[n < 0 ? 0 : n] = '\0';
    return text;
}

static int setup(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/outboxd-notify-XXXXXX");
    assert_non_null(mkdtemp(folder));
    assert_int_equal(unsetenv("NOTIFY_SOCKET"), 0);
    assert_int_equal(unsetenv("WATCHDOG_USEC"), 0);
    assert_int_equal(unsetenv("WATCHDOG_PID"), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    if (reader >= 0)
        assert_int_equal(close(reader), 0);
    reader = -1;
    (void)snprintf(name, sizeof name, "%s/notify", folder);
    (void)unlink(name);
    assert_int_equal(rmdir(folder), 0);
    return 0;
}

static void test_nobody_asked(void **state)
{
    struct sd_notify n;
    struct err err = {0};

    (void)state;
    assert_int_equal(setenv("WATCHDOG_USEC", "30000000", 1), 0);
    assert_ok(sd_notify_init(&n, &err), &err);
    assert_int_equal(n.fd, -1);
    assert_int_equal(n.watchdog_ms, 0);
    assert_int_equal(sd_notify_send(&n, "READY=1"), 0);
    sd_notify_release(&n);
    assert_int_equal(setenv("NOTIFY_SOCKET", "", 1), 0);
    assert_ok(sd_notify_init(&n, &err), &err);
    assert_int_equal(n.fd, -1);
}

static void send_and_read(bool abstract)
{
    struct sd_notify n;
    struct err err = {0};

    bind_reader(abstract);
    assert_ok(sd_notify_init(&n, &err), &err);
    assert_int_equal(sd_notify_send(&n, "READY=1\nSTATUS=leading"), 0);
    assert_string_equal(next(), "READY=1\nSTATUS=leading");
    assert_string_equal(next(), "");
    sd_notify_release(&n);
    assert_int_equal(sd_notify_send(&n, "READY=1"), 0); /* to nobody */
    assert_string_equal(next(), "");
}

static void test_a_path(void **state)
{
    (void)state;
    send_and_read(false);
}

static void test_an_abstract_name(void **state)
{
    (void)state;
    send_and_read(true);
}

static void test_names_that_cannot_be_used(void **state)
{
    char longest[200];
    const char *const names[] = {"notify", "vsock:2:1234", "/", "@", longest};
    struct sd_notify n;

    (void)state;
    memset(longest, 'x', sizeof longest);
    longest[0] = '/';
    longest[sizeof longest - 1] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct err err = {0};

        assert_int_equal(setenv("NOTIFY_SOCKET", names[i], 1), 0);
        assert_int_equal(sd_notify_init(&n, &err), -1);
        assert_contains(err.text, "NOTIFY_SOCKET");
        assert_int_equal(sd_notify_send(&n, "READY=1"), 0);
        sd_notify_release(&n);
    }
}

static void test_a_reader_that_is_gone_or_behind(void **state)
{
    struct sd_notify n;
    struct err err = {0};
    int rc = 0;

    (void)state;
    bind_reader(false);
    assert_ok(sd_notify_init(&n, &err), &err);
    for (int i = 0; i < 100000 && rc == 0; i++)
        rc = sd_notify_send(&n, "WATCHDOG=1");
    assert_int_equal(rc, -EAGAIN);
    assert_int_equal(close(reader), 0);
    assert_int_equal(sd_notify_send(&n, "WATCHDOG=1"), -ECONNREFUSED);
    assert_int_equal(unlink(name), 0);
    assert_int_equal(sd_notify_send(&n, "WATCHDOG=1"), -ENOENT);
    bind_reader(false); /* the manager started again */
    assert_int_equal(sd_notify_send(&n, "WATCHDOG=1"), 0);
    assert_string_equal(next(), "WATCHDOG=1");
    sd_notify_release(&n);
}

static void test_the_watchdog_is_for_us(void **state)
{
    static const struct {
        const char *usec;
        uint32_t ms;
    } cases[] = {{"30000000", 30000}, {"2500", 2}, {"0", 0},   {"", 0},
                 {"-5", 0},           {"soon", 0}, {"999", 0}, {"1e6", 0}};
    struct sd_notify n;
    struct err err = {0};
    char pid[16];

    (void)state;
    bind_reader(false);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(setenv("WATCHDOG_USEC", cases[i].usec, 1), 0);
        assert_ok(sd_notify_init(&n, &err), &err);
        assert_int_equal(n.watchdog_ms, cases[i].ms);
        sd_notify_release(&n);
    }
    assert_int_equal(setenv("WATCHDOG_USEC", "30000000", 1), 0);
    (void)snprintf(pid, sizeof pid, "%d", (int)getpid());
    assert_int_equal(setenv("WATCHDOG_PID", pid, 1), 0);
    assert_ok(sd_notify_init(&n, &err), &err);
    assert_int_equal(n.watchdog_ms, 30000);
    sd_notify_release(&n);
    assert_int_equal(setenv("WATCHDOG_PID", "1", 1), 0);
    assert_ok(sd_notify_init(&n, &err), &err);
    assert_int_equal(n.watchdog_ms, 0);
    sd_notify_release(&n);
}

/* ---- what is told of a life ---- */

static struct event_base *base;
static struct supervisor told;

static void begin(void)
{
    bind_reader(true);
    base = event_base_new();
    assert_non_null(base);
    supervisor_init(&told, base);
}

static void end(void)
{
    supervisor_release(&told);
    event_base_free(base);
}

static void turn_ms(unsigned ms)
{
    struct timeval tv = {.tv_usec = (suseconds_t)ms * 1000};

    assert_int_equal(event_base_loopexit(base, &tv), 0);
    assert_true(event_base_dispatch(base) >= 0);
}

static void test_ready_with_the_first_answer(void **state)
{
    static const enum relay_note answers[] = {RELAY_NOTE_CONNECTED, RELAY_NOTE_STANDBY};
    static const char *const status[] = {"STATUS=connected to the database",
                                         "STATUS=standing by: another process holds the lease"};

    (void)state;
    begin();
    turn_ms(1);
    assert_string_equal(next(), "");
    supervisor_note(&told, NULL, answers[0], NULL);
    assert_string_equal(next(), status[0]);
    assert_string_equal(next(), "READY=1");
    supervisor_note(&told, NULL, answers[1], NULL);
    assert_string_equal(next(), status[1]);
    supervisor_note(&told, NULL, answers[0], NULL);
    assert_string_equal(next(), status[0]);
    assert_string_equal(next(), ""); /* once is enough */
    end();
}

static void test_a_status_is_one_line(void **state)
{
    struct trouble trouble = {.cause = "broker_error", .text = "one\nREADY=1\ttwo"};

    (void)state;
    begin();
    supervisor_note(&told, NULL, RELAY_NOTE_STALLED, &trouble);
    assert_string_equal(next(), "STATUS=no acknowledgement: one READY=1 two");
    assert_string_equal(next(), "");
    end();
}

static void test_reloading_and_stopping(void **state)
{
    (void)state;
    begin();
    supervisor_reloading(&told); /* before READY there is nothing to reload */
    supervisor_reloaded(&told);
    assert_string_equal(next(), "");
    supervisor_note(&told, NULL, RELAY_NOTE_CONNECTED, NULL);
    (void)next();
    assert_string_equal(next(), "READY=1");
    supervisor_reloading(&told);
    assert_contains(next(), "RELOADING=1\nMONOTONIC_USEC=");
    supervisor_reloaded(&told);
    assert_string_equal(next(), "READY=1");
    supervisor_stopping(&told, 10000);
    assert_string_equal(next(), "STOPPING=1\nEXTEND_TIMEOUT_USEC=12000000");
    supervisor_reloading(&told);
    supervisor_reloaded(&told);
    assert_string_equal(next(), "");
    end();
}

static void test_the_watchdog_hears_of_a_loop_that_turns(void **state)
{
    int beats = 0;

    (void)state;
    assert_int_equal(setenv("WATCHDOG_USEC", "40000", 1), 0);
    begin();
    turn_ms(200);
    while (strcmp(next(), "WATCHDOG=1") == 0)
        beats++;
    assert_in_range(beats, 5, 20); /* every 10 ms, on a machine that is not too busy */
    end();
}

static void test_ready_waits_for_a_reader_that_is_behind(void **state)
{
    bool ready = false;

    (void)state;
    begin();
    while (sd_notify_send(&told.notify, "STATUS=x") == 0)
        ;
    supervisor_note(&told, NULL, RELAY_NOTE_CONNECTED, NULL);
    assert_false(told.ready);
    while (next()[0] != '\0')
        ;
    for (int i = 0; i < 100 && !ready; i++) {
        turn_ms(50);
        ready = strcmp(next(), "READY=1") == 0;
    }
    assert_true(ready);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_nobody_asked, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_path, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_abstract_name, setup, teardown),
        cmocka_unit_test_setup_teardown(test_names_that_cannot_be_used, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_reader_that_is_gone_or_behind, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_watchdog_is_for_us, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ready_with_the_first_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_status_is_one_line, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reloading_and_stopping, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_watchdog_hears_of_a_loop_that_turns, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_ready_waits_for_a_reader_that_is_behind, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
