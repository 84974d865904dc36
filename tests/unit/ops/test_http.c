/* The server among clients as they should not be: hundreds at once, halves of requests, endless
 * headers, bodies, readers that never read. Who asks and reads is served among them, and the server
 * keeps neither descriptors nor memory of the others. */
#include "http_ground.h"

#include <sys/resource.h>

#define CROWD 300

/* ---- who behaves ---- */

static void test_an_answer_is_whole(void **state)
{
    const char *got = ask("GET /small HTTP/1.1\r\nHost: x\r\n\r\n");

    (void)state;
    assert_contains(got, "HTTP/1.1 200 OK\r\n");
    assert_contains(got, "\r\nContent-Type: text/plain; charset=utf-8\r\n");
    assert_contains(got, "\r\nContent-Length: 6\r\n");
    assert_contains(got, "\r\nConnection: close\r\n");
    assert_contains(got, "\r\nX-Test: yes\r\n");
    assert_contains(got, "\r\n\r\nsmall\n");
    assert_served();
    got = ask("GET /sad HTTP/1.0\n\n");
    assert_contains(got, "HTTP/1.1 503 Service Unavailable\r\n");
    assert_contains(got, "\r\nContent-Type: application/json\r\n");
}

static void test_head_has_no_body(void **state)
{
    const char *got = ask("HEAD /small HTTP/1.1\r\nHost: x\r\n\r\n");

    (void)state;
    assert_contains(got, "HTTP/1.1 200 OK\r\n");
    assert_contains(got, "\r\nContent-Length: 6\r\n");
    assert_lacks(got, "small");
}

static void test_what_is_refused(void **state)
{
    (void)state;
    assert_status("GET /nowhere HTTP/1.1\r\n\r\n", "404 Not Found");
    assert_status("POST /nowhere HTTP/1.1\r\n\r\n", "404 Not Found");
    assert_status("POST /small HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", "405 Method Not Allowed");
    assert_contains(ask("DELETE /small HTTP/1.1\r\n\r\n"), "\r\nAllow: GET, HEAD\r\n");
    assert_status("hello\r\n\r\n", "400 Bad Request");
    assert_status("PRI * HTTP/2.0\r\n\r\n", "505 HTTP Version Not Supported");
    assert_served();
}

/* As netcat does it; and the answer must not be lost with it. */
static void test_a_client_may_close_its_side_first(void **state)
{
    int fd = connect_to_it();

    (void)state;
    say(fd, "GET /small HTTP/1.1\r\n\r\n");
    (void)shutdown(fd, SHUT_WR);
    assert_contains(hear(fd), "small\n");
}

static void test_a_request_may_come_byte_by_byte(void **state)
{
    const char *request = "GET /small HTTP/1.1\r\nHost: x\r\n\r\n";
    int fd = connect_to_it();

    (void)state;
    for (const char *p = request; *p != '\0'; p++) {
        (void)send(fd, p, 1, MSG_NOSIGNAL);
        pause_ms(1);
    }
    assert_contains(hear(fd), "small\n");
}

/* ---- who does not ---- */

static void test_endless_headers(void **state)
{
    struct str request = {0};

    (void)state;
    str_puts(&request, "GET /small HTTP/1.1\r\n");
    for (int i = 0; i < 500; i++)
        str_printf(&request, "X-%d: %064d\r\n", i, i);
    assert_status(str_text(&request), "431 Request Header Fields Too Large");
    str_reset(&request);
    for (size_t i = 0; i < 20000; i++)
        str_put_char(&request, 'A');
    assert_status(str_text(&request), "431 Request Header Fields Too Large");
    str_release(&request);
    assert_served();
}

/* The server neither reads it all nor cuts its own answer off. */
static void test_a_body_of_any_size(void **state)
{
    char *part = xcalloc(1, 65536);
    int fd = connect_to_it();
    size_t sent = 0;

    (void)state;
    say(fd, "POST /small HTTP/1.1\r\nContent-Length: 1000000000\r\n\r\n");
    assert_contains(hear(dup(fd)), "405 Method Not Allowed");
    while (sent < 64u * 1024 * 1024) {
        ssize_t n = send(fd, part, 65536, MSG_NOSIGNAL);

        if (n < 0)
            break;
        sent += (size_t)n;
    }
    free(part);
    (void)close(fd);
    assert_true(sent < 64u * 1024 * 1024); /* the connection was ended */
    assert_served();
}

/* A total, not a pause between two bytes: somebody who drips is not kept either; nor is the rest of
 * an answer that nobody reads, of which the kernel takes only so much. */
static void test_time_ends_for_who_drips_and_who_never_reads(void **state)
{
    uint64_t begin = now_ms();
    int dripping = connect_to_it();
    int fds[20];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        int small = 4096;

        fds[i] = connect_to_it();
        (void)setsockopt(fds[i], SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
        say(fds[i], "GET /huge HTTP/1.1\r\n\r\n");
    }
    assert_served();
    assert_true(server_fds() >= (int)ARRAY_LEN(fds));
    while (!is_closed(dripping)) {
        CHECK(now_ms() - begin < 30000, "still open");
        (void)send(dripping, "x", 1, MSG_NOSIGNAL);
        pause_ms(20);
    }
    assert_true(now_ms() - begin >= HTTP_CLIENT_MS / 2);
    wait_for_fds((int)ARRAY_LEN(fds));
    assert_served();
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        (void)close(fds[i]);
    (void)close(dripping);
}

static void raise_own_limit(void)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* A crowd that says nothing, or half of a request, and stays. */
static void test_a_crowd_keeps_nobody_out(void **state)
{
    int fds[CROWD];
    uint64_t begin;
    uint64_t slowest = 0;
    long before;

    (void)state;
    raise_own_limit();
    assert_served();
    before = server_kib();
    for (int i = 0; i < CROWD; i++) {
        fds[i] = connect_to_it();
        if (i % 2 == 0)
            say(fds[i], "GET /small HTTP/1.1\r\nX-Half: ");
        if (i % 30 != 0)
            continue;
        begin = now_ms();
        assert_served();
        if (now_ms() - begin > slowest)
            slowest = now_ms() - begin;
        assert_true(server_fds() < (int)HTTP_CLIENTS_MAX + 20);
    }
    print_message("among %d silent clients: the slowest answer took %llu ms, %ld KiB more\n", CROWD,
                  (unsigned long long)slowest, server_kib() - before);
    CHECK(server_kib() - before < 4096, "%ld KiB more", server_kib() - before);
    for (int i = 0; i < CROWD; i++)
        (void)close(fds[i]);
    wait_for_fds(20);
    assert_served();
}

/* Somebody asks as fast as a connection can be made. */
static void test_a_flood_is_served_at_a_rate(void **state)
{
    uint64_t begin = now_ms();
    uint64_t took;
    int served = 0;
    double cpu = server_cpu_s();

    (void)state;
    while (now_ms() - begin < 1500) {
        assert_served();
        served++;
    }
    took = now_ms() - begin;
    cpu = server_cpu_s() - cpu;
    print_message("a flood: %d answers in %llu ms, %.2f s of processor\n", served,
                  (unsigned long long)took, cpu);
    CHECK((uint64_t)served <= (took / HTTP_TICK_MS + 2) * HTTP_ACCEPTS_TICK, "%d in %llu ms",
          served, (unsigned long long)took);
}

/* ---- the address ---- */

static int occupy(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;

    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    assert_int_equal(bind(fd, &address.socket.any, address.len), 0);
    assert_int_equal(listen(fd, 1), 0);
    return fd;
}

static int setup_taken(void **state)
{
    static int fd;

    choose_address();
    fd = occupy();
    *state = &fd;
    server = fork();
    if (server == 0) {
        (void)close(fd);
        serve_until_killed();
    }
    return server > 0 ? 0 : -1;
}

static void test_a_taken_address_is_tried_again(void **state)
{
    int fd = *(int *)*state;

    pause_ms(100);
    assert_int_equal(waitpid(server, NULL, WNOHANG), 0); /* it lives */
    (void)close(fd);
    assert_served();
}

#define ON_SERVER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_SERVER(test_an_answer_is_whole),
        ON_SERVER(test_head_has_no_body),
        ON_SERVER(test_what_is_refused),
        ON_SERVER(test_a_client_may_close_its_side_first),
        ON_SERVER(test_a_request_may_come_byte_by_byte),
        ON_SERVER(test_endless_headers),
        ON_SERVER(test_a_body_of_any_size),
        ON_SERVER(test_time_ends_for_who_drips_and_who_never_reads),
        ON_SERVER(test_a_crowd_keeps_nobody_out),
        ON_SERVER(test_a_flood_is_served_at_a_rate),
        cmocka_unit_test_setup_teardown(test_a_taken_address_is_tried_again, setup_taken, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
