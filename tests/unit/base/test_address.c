/* Addresses to listen on: what is one, what is none, and where to ask whoever listens there. */
#include "base/address.h"

#include "../../support/check.h"

#include <arpa/inet.h>

static void assert_address(const char *text, const char *host, int port)
{
    struct address a;
    struct err err = {0};
    char name[INET6_ADDRSTRLEN] = "";

    assert_ok(address_parse(text, &a, &err), &err);
    if (a.socket.any.sa_family == AF_INET) {
        assert_non_null(inet_ntop(AF_INET, &a.socket.ip4.sin_addr, name, sizeof name));
        assert_int_equal(ntohs(a.socket.ip4.sin_port), port);
        assert_int_equal(a.len, sizeof(struct sockaddr_in));
    } else {
        assert_int_equal(a.socket.any.sa_family, AF_INET6);
        assert_non_null(inet_ntop(AF_INET6, &a.socket.ip6.sin6_addr, name, sizeof name));
        assert_int_equal(ntohs(a.socket.ip6.sin6_port), port);
        assert_int_equal(a.len, sizeof(struct sockaddr_in6));
    }
    assert_string_equal(name, host);
}

static void test_good_ones(void **state)
{
    (void)state;
    assert_address("127.0.0.1:9464", "127.0.0.1", 9464);
    assert_address("0.0.0.0:1", "0.0.0.0", 1);
    assert_address("255.255.255.255:65535", "255.255.255.255", 65535);
    assert_address("[::1]:9464", "::1", 9464);
    assert_address("[::]:80", "::", 80);
    assert_address("[fe80::1:2:3]:80", "fe80::1:2:3", 80);
}

static void test_bad_ones(void **state)
{
    static const char *const texts[] = {
        "",
        "9464",
        ":9464",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "127.0.0.1:94 64",
        "127.0.0.1:000080",
        "localhost:9464",
        "256.0.0.1:80",
        "::1:9464",
        "[::1]",
        "[::1]9464",
        "[::1]:",
        "[::1:9464",
        "[127.0.0.1]:80",
        "[]:80",
        "[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]:80"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct address a;
        struct err err = {0};

        CHECK(address_parse(texts[i], &a, &err) == -1, "\"%s\" is taken for an address", texts[i]);
        assert_int_equal(err.kind, ERR_CONFIG);
        assert_contains(err.text, "such as 127.0.0.1:9464");
    }
}

static void test_every_interface_is_asked_by_loopback(void **state)
{
    static const struct {
        const char *listen;
        const char *ask;
    } cases[] = {{"0.0.0.0:7", "127.0.0.1:7"},
                 {"[::]:7", "[::1]:7"},
                 {"10.0.0.1:7", "10.0.0.1:7"},
                 {"[fe80::1]:7", "[fe80::1]:7"}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct address a;
        struct address b;
        struct err err = {0};

        assert_ok(address_parse(cases[i].listen, &a, &err), &err);
        assert_ok(address_parse(cases[i].ask, &b, &err), &err);
        address_to_ask(&a);
        assert_memory_equal(&a, &b, sizeof a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_ones),
        cmocka_unit_test(test_bad_ones),
        cmocka_unit_test(test_every_interface_is_asked_by_loopback),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
