/* The order of several hosts: whoever stays silent goes to the end. A socket that listens and never
 * accepts plays all of them. */
#include "../../support/check.h"

#include "outbox/hosts.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

static int listener;
static char port[16];

static int setup(void **state)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t len = sizeof at;

    (void)state;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (const struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(listener, 16), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);
    (void)snprintf(port, sizeof port, "%d", ntohs(at.sin_port));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    (void)close(listener);
    return 0;
}

/* Begins to connect in the order of `h`, and is at the first host. */
static PGconn *begin(const struct hosts *h, const char *names, const char *addresses)
{
    const char *keywords[4 + HOSTS_PARAMS] = {"host", "hostaddr", "port"};
    const char *values[4 + HOSTS_PARAMS] = {names, addresses, port};
    PGconn *conn;

    (void)hosts_params(h, keywords + 3, values + 3);
    conn = PQconnectStartParams(keywords, values, 0);
    assert_int_equal(PQstatus(conn) == CONNECTION_BAD, 0);
    return conn;
}

static void blame_first(struct hosts *h, const char *first)
{
    PGconn *conn = begin(h, "a,b,c", "127.0.0.1,127.0.0.1,127.0.0.1");

    assert_int_equal(hosts_count(conn), 3);
    assert_string_equal(PQhost(conn), first);
    hosts_blame(h, conn);
    hosts_blame(h, conn); /* by the next session, which met the same silence */
    PQfinish(conn);
}

static void test_silent_ones_go_to_the_end(void **state)
{
    struct hosts *h = hosts_new();

    (void)state;
    blame_first(h, "a");
    blame_first(h, "b");
    blame_first(h, "c");
    blame_first(h, "a");
    hosts_free(h);
}

static void test_addresses_without_names(void **state)
{
    struct hosts *h = hosts_new();
    const char *keywords[HOSTS_PARAMS];
    const char *values[HOSTS_PARAMS];
    PGconn *conn = begin(h, "", "127.0.0.1,127.0.0.2");

    (void)state;
    assert_int_equal(hosts_count(conn), 2);
    hosts_blame(h, conn);
    assert_int_equal(hosts_params(h, keywords, values), 1);
    assert_string_equal(keywords[0], "hostaddr");
    assert_string_equal(values[0], "127.0.0.2,127.0.0.1");
    PQfinish(conn);
    hosts_free(h);
}

static void test_a_single_host_stays(void **state)
{
    struct hosts *h = hosts_new();
    const char *keywords[HOSTS_PARAMS];
    const char *values[HOSTS_PARAMS];
    PGconn *conn = begin(h, "a", "127.0.0.1");

    (void)state;
    assert_int_equal(hosts_count(conn), 1);
    hosts_blame(h, conn);
    assert_int_equal(hosts_params(h, keywords, values), 0);
    PQfinish(conn);
    hosts_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_silent_ones_go_to_the_end),
        cmocka_unit_test(test_addresses_without_names),
        cmocka_unit_test(test_a_single_host_stays),
    };

    return cmocka_run_group_tests_name("hosts", tests, setup, teardown);
}
