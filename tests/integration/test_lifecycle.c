/* The life of the whole binary: it tells the supervisor, reads its configuration again, needs
 * nothing to write to, and can be process 1.
 */
#include "relay_case.h"

#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* ---- the supervisor ---- */

static int notify_fd = -1;

/* What has come, except for the watchdog's ticks, which are counted. */
static char said[65536];
static int ticks;

static void listen_as_supervisor(void)
{
    char folder[PATH_SIZE];
    char path[PATH_SIZE];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    union {
        const struct sockaddr_un *un;
        const struct sockaddr *any;
    } at = {.un = &address};

    tmp_folder("notify", folder);
    path_join(path, folder, "socket");
    assert_in_range(strlen(path), 1, sizeof address.sun_path - 1);
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(notify_fd >= 0);
    assert_int_equal(bind(notify_fd, at.any, sizeof address), 0);
    assert_int_equal(setenv("NOTIFY_SOCKET", path, 1), 0);
    assert_int_equal(setenv("WATCHDOG_USEC", "1000000", 1), 0);
}

static void forget_supervisor(void)
{
    assert_int_equal(unsetenv("NOTIFY_SOCKET"), 0);
    assert_int_equal(unsetenv("WATCHDOG_USEC"), 0);
    assert_int_equal(close(notify_fd), 0);
    notify_fd = -1;
    said[0] = '\0';
}

static bool hear(const char *part)
{
    char text[2048];
    ssize_t n;

    while ((n = recv(notify_fd, text, sizeof text - 1, 0)) >= 0) {
        text[n] = '\0';
        ticks += strcmp(text, "WATCHDOG=1") == 0;
        if (strcmp(text, "WATCHDOG=1") != 0)
            (void)snprintf(said + strlen(said), sizeof said - strlen(said), "%s\n\n", text);
    }
    return strstr(said, part) != NULL;
}

static void forget_said(void)
{
    (void)hear("");
    said[0] = '\0';
    ticks = 0;
}

/* A loop that waits for a server turns: within the interval of the watchdog, many times over. */
static void assert_ticks(void)
{
    forget_said();
    WAIT_UNTIL((hear(""), ticks >= 8), 8000); /* one every 250 ms */
}

static void test_the_supervisor_is_told(void **state)
{
    (void)state;
    listen_as_supervisor();
    pg_stop(&pg);
    outboxd_configure(&relay, &pg, kafka_brokers(&kafka), PATIENT, NULL);
    outboxd_start(&relay);
    WAIT_UNTIL(hear("STATUS=database lost"), 10000);
    WAIT_UNTIL(hear("READY=1"), 1000); /* it is up, though it waits */
    assert_ticks();                    /* while it waits for Postgres */
    pg_start(&pg);
    PQreset(owner);
    WAIT_UNTIL(hear("STATUS=leading, epoch "), 15000);
    kafka_pause(&kafka, 0);
    publish(1, 10);
    WAIT_UNTIL(hear("STATUS=no acknowledgement"), 20000);
    assert_ticks(); /* while it waits for Kafka */
    kafka_continue(&kafka, 0);
    WAIT_UNTIL(hear("STATUS=publishing again"), 30000);
    proc_signal(&relay.proc, SIGHUP);
    WAIT_UNTIL(hear("RELOADING=1"), 5000);
    outboxd_wait_drained(&relay, 20000);
    assert_int_equal(stop_ms(&relay) > AT_ONCE_MS, 0);
    assert_true(hear("STOPPING=1\nEXTEND_TIMEOUT_USEC=22000000"));
    forget_supervisor();
}

static void test_ready_comes_once_and_again_after_a_reload(void **state)
{
    (void)state;
    listen_as_supervisor();
    outboxd_configure(&relay, &pg, kafka_brokers(&kafka), PATIENT, NULL);
    outboxd_start(&relay);
    WAIT_UNTIL(hear("READY=1"), 10000);
    outboxd_wait_log(&relay, "lease taken", 10000);
    test_sleep_ms(200);
    assert_true(hear("STATUS=leading"));
    assert_null(strstr(strstr(said, "READY=1") + 1, "READY=1"));
    forget_said();
    proc_signal(&relay.proc, SIGHUP);
    WAIT_UNTIL(hear("READY=1"), 5000);
    /* stopped by a debugger or a machine that pauses: the watchdog hears nothing */
    proc_signal(&relay.proc, SIGSTOP);
    test_sleep_ms(100);
    forget_said();
    test_sleep_ms(1000);
    assert_true(hear(""));
    assert_int_equal(ticks, 0);
    proc_signal(&relay.proc, SIGCONT);
    assert_ticks();
    assert_stops_at_once(&relay);
    forget_supervisor();
}

static void test_what_only_a_person_can_repair_is_never_ready(void **state)
{
    (void)state;
    listen_as_supervisor();
    pg_exec(owner, "DROP SCHEMA outbox CASCADE");
    outboxd_configure(&relay, &pg, kafka_brokers(&kafka), NULL, NULL);
    outboxd_start(&relay);
    assert_true(proc_wait(&relay.proc, 15000));
    assert_int_equal(proc_exit_code(&relay.proc), 78);
    assert_false(hear("READY=1"));
    forget_supervisor();
}

/* ---- SIGHUP ---- */

static void test_a_reload_takes_over_what_it_can(void **state)
{
    char *text;
    char more[2048];

    (void)state;
    outboxd_configure(&relay, &pg, kafka_brokers(&kafka), ", shutdown_timeout: 60s", NULL);
    start_leading(&relay);
    text = file_read(relay.config);
    *strstr(text, ", shutdown_timeout") = '\0';
    (void)snprintf(more, sizeof more,
                   "%s, shutdown_timeout: 2s, lease_ttl: 5s}\nlog: {format: json}\n", text);
    file_write(relay.config, "%s", more);
    free(text);
    proc_signal(&relay.proc, SIGHUP);
    outboxd_wait_log(&relay, "\"configuration reloaded\"", 5000);
    outboxd_wait_log(&relay, "relay.lease_ttl", 5000); /* needs a restart */
    /* a file with a mistake changes nothing */
    file_write(relay.config, "%s", "relay: {nam: x}\n");
    proc_signal(&relay.proc, SIGHUP);
    outboxd_wait_log(&relay, "configuration not reloaded", 5000);
    assert_true(proc_alive(&relay.proc));
    /* the new limit counts */
    kafka_pause(&kafka, 0);
    publish(1, 10);
    test_sleep_ms(500);
    assert_in_range(stop_ms(&relay), 0, 8000);
    kafka_continue(&kafka, 0);
    assert_lease_is_free();
}

/* ---- where it runs ---- */

/* By a user who may write nowhere here, in the root folder, with no home. */
static void test_nothing_to_write_to(void **state)
{
    char folder[PATH_SIZE];
    char program[PATH_SIZE];
    char built[PATH_SIZE];

    (void)state;
    tmp_folder("nobody", folder);
    path_join(program, folder, "outboxd");
    (void)snprintf(built, sizeof built, "%s", outboxd_binary());
    assert_int_equal(proc_run(WORDS("cp", built, program), NULL, 10000), 0);
    assert_int_equal(setenv("OUTBOXD", program, 1), 0);
    outboxd_configure(&relay, &pg, kafka_brokers(&kafka), PATIENT, NULL);
    outboxd_start_by(&relay, NULL,
                     &(struct proc_params){.cwd = "/",
                                           .user = geteuid() == 0 ? "nobody" : NULL,
                                           .env = WORDS("HOME", "TMPDIR=/nowhere")});
    assert_int_equal(setenv("OUTBOXD", built, 1), 0);
    publish(1, 100);
    outboxd_wait_drained(&relay, 10000);
    assert_stops_at_once(&relay);
    assert_lease_is_free();
    assert_oracle(NULL, 0);
}

/* The only child of a process. */
static pid_t child_of(pid_t parent)
{
    char path[64];
    char *text;
    pid_t pid;

    (void)snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)parent, (int)parent);
    text = file_read(path);
    pid = (pid_t)strtol(text, NULL, 10);
    free(text);
    return pid;
}

/* A signal that has no handler never comes to process 1, as in a container. */
static void test_it_can_be_process_1(void **state)
{
    const char *const root[] = {"unshare", "--pid", "--fork", "--kill-child", NULL};
    const char *const user[] = {"unshare", "--map-root-user", "--pid",
                                "--fork",  "--kill-child",    NULL};
    pid_t pid;
    uint64_t start;

    (void)state;
    outboxd_configure(&relay, &pg, kafka_brokers(&kafka), PATIENT, NULL);
    outboxd_start_by(&relay, geteuid() == 0 ? root : user, &(struct proc_params){0});
    outboxd_wait_log(&relay, "lease taken", 10000);
    assert_true(outboxd_log_has(&relay, " pid=1\n"));
    pid = child_of(relay.proc.pid);
    assert_true(pid > 0);
    publish(1, 100);
    outboxd_wait_drained(&relay, 10000);
    assert_int_equal(kill(pid, SIGHUP), 0);
    outboxd_wait_log(&relay, "configuration reloaded", 5000);
    start = test_now_ms();
    assert_int_equal(kill(pid, SIGTERM), 0);
    assert_true(proc_wait(&relay.proc, 30000));
    assert_in_range(test_now_ms() - start, 0, AT_ONCE_MS);
    assert_int_equal(proc_exit_code(&relay.proc), 0); /* unshare passes it on */
    assert_lease_is_free();
    assert_oracle(NULL, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_with_topic, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_the_supervisor_is_told),
        TEST(test_ready_comes_once_and_again_after_a_reload),
        TEST(test_what_only_a_person_can_repair_is_never_ready),
        TEST(test_a_reload_takes_over_what_it_can),
        TEST(test_nothing_to_write_to),
        TEST(test_it_can_be_process_1),
    };

    cmocka_set_test_filter(getenv("ONLY")); /* a pattern such as *kafka*; NULL: all */
    return cmocka_run_group_tests_name("life cycle", tests, setup_kafka, teardown_kafka);
}
