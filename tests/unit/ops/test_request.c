/* The head of a request: what is served, and what is refused how. */
#include "../../support/check.h"

#include "ops/request.h"

static struct request request;

static int parse(const char *text)
{
    static char head[512];

    (void)strncpy(head, text, sizeof head - 1);
    return request_parse(head, &request);
}

static void test_good_ones(void **state)
{
    static const struct {
        const char *head;
        enum request_method method;
        const char *path;
    } cases[] = {
        {"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", REQUEST_GET, "/metrics"},
        {"GET /metrics HTTP/1.0\n\n", REQUEST_GET, "/metrics"},
        {"HEAD / HTTP/1.1\r\n\r\n", REQUEST_HEAD, "/"},
        {"GET /status?pretty=1#x HTTP/1.1\r\n\r\n", REQUEST_GET, "/status"},
        {"GET http://host:9464/readyz?a HTTP/1.1\r\n\r\n", REQUEST_GET, "/readyz"},
        {"GET http://host:9464 HTTP/1.1\r\n\r\n", REQUEST_GET, "/"},
        {"POST /metrics HTTP/1.1\r\n\r\n", REQUEST_OTHER, "/metrics"},
        {"get /metrics HTTP/1.1\r\n\r\n", REQUEST_OTHER, "/metrics"},
        {"GETX /metrics HTTP/1.1\r\n\r\n", REQUEST_OTHER, "/metrics"},
        {"GET /../etc/passwd HTTP/1.1\r\n\r\n", REQUEST_GET, "/../etc/passwd"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CHECK(parse(cases[i].head) == 0, "%s", cases[i].head);
        assert_int_equal(request.method, cases[i].method);
        assert_string_equal(request.path, cases[i].path);
    }
}

static void test_bad_ones(void **state)
{
    static const struct {
        const char *head;
        int status;
    } cases[] = {
        {"\r\n\r\n", 400},
        {"GET\r\n\r\n", 400},
        {"GET \r\n\r\n", 400},
        {"GET /metrics\r\n\r\n", 400},
        {"GET  /metrics HTTP/1.1\r\n\r\n", 400},
        {"GET metrics HTTP/1.1\r\n\r\n", 400},
        {"OPTIONS * HTTP/1.1\r\n\r\n", 400},
        {"GET /a b HTTP/1.1\r\n\r\n", 400},
        {"GET / FTP/1.1\r\n\r\n", 400},
        {"PRI * HTTP/2.0\r\n\r\n", 505},
        {"GET / HTTP/3\r\n\r\n", 505},
        {"\x16\x03\x01\x02 \x01\x01\n\n", 400},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        CHECK(parse(cases[i].head) == cases[i].status, "%s: %d", cases[i].head,
              parse(cases[i].head));
}

static void test_where_a_head_ends(void **state)
{
    (void)state;
    assert_false(request_is_whole("", 0));
    assert_false(request_is_whole("GET / HTTP/1.1\r\n", 16));
    assert_false(request_is_whole("GET / HTTP/1.1\r\n\r", 17));
    assert_true(request_is_whole("GET / HTTP/1.1\r\n\r\n", 18));
    assert_true(request_is_whole("GET / HTTP/1.1\n\n", 16));
    assert_true(request_is_whole("GET / HTTP/1.1\r\n\r\nbody", 22));
}

static void test_every_status_has_its_reason(void **state)
{
    static const int ours[] = {200, 400, 404, 405, 431, 503, 505};

    (void)state;
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
        assert_string_not_equal(request_reason(ours[i]), "Unknown");
    assert_string_equal(request_reason(299), "Unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_ones),
        cmocka_unit_test(test_bad_ones),
        cmocka_unit_test(test_where_a_head_ends),
        cmocka_unit_test(test_every_status_has_its_reason),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
