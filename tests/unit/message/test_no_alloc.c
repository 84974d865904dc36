/* Once the buffers have found their size, building a message allocates nothing: not even with
 * headers of the row. Every malloc of the process is counted: by a hook of the sanitizer where
 * there is one, else by standing in front of glibc. */
#include "sample.h"

#include <stdlib.h>
#include <string.h>

static size_t allocations;

#if defined(__SANITIZE_ADDRESS__)
#define HAVE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) /* clang's word for it */
#define HAVE_ASAN 1
#endif
#endif

/* Debian's gcc 12 comes without sanitizer/allocator_interface.h; glibc never had a header for its
 * __libc_ names. */
/* NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c) */
#if defined(HAVE_ASAN)
extern int __sanitizer_install_malloc_and_free_hooks(void (*on_malloc)(const volatile void *,
                                                                       size_t),
                                                     void (*on_free)(const volatile void *));
#else
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);
#endif
/* NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c) */

#if defined(HAVE_ASAN)

static void count_malloc(const volatile void *p, size_t size)
{
    (void)p;
    (void)size;
    allocations++;
}

static void count_free(const volatile void *p)
{
    (void)p;
}

static void start_counting(void)
{
    assert_true(__sanitizer_install_malloc_and_free_hooks(count_malloc, count_free) > 0);
}
#else
void *malloc(size_t size)
{
    allocations++;
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    allocations++;
    return __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
    allocations++;
    return __libc_realloc(old, size);
}

static void start_counting(void)
{
}
#endif

static void the_counter_counts(void **state)
{
    size_t before = allocations;
    struct str s = {0};

    (void)state;
    str_puts(&s, "x");
    assert_true(allocations > before);
    str_release(&s);
}

static size_t allocations_of(const struct event *e, const struct route_table *routes)
{
    struct message m;
    struct err err;
    size_t before;

    message_init(&m);
    assert_int_equal(message_build(&m, routes, e, &err), 0);
    before = allocations;
    for (int i = 0; i < 1000; i++)
        if (message_build(&m, routes, e, &err) != 0)
            fail_msg("%s", err.text);
    before = allocations - before;
    message_release(&m);
    return before;
}

static void none_per_event(void **state)
{
    struct route_table routes;
    struct event e = sample_event();

    (void)state;
    route_table_init(&routes);
    route_table_allow(&routes, "*-events");
    assert_int_equal(allocations_of(&e, &routes), 0);
    e.headers =
        SLICE_LIT("{\"traceparent\":\"00-0af7-b7ad-01\",\"n\":[1,{\"a\":\"\\u00eb\"}],\"z\":null}");
    assert_int_equal(allocations_of(&e, &routes), 0);
    routes.routes[0].format = FORMAT_RAW;
    routes.routes[0].topic = xstrdup("{aggregate_type}-events");
    assert_int_equal(allocations_of(&e, &routes), 0);
    route_table_release(&routes);
}

/* A smaller event after a bigger one needs nothing either. */
static void buffers_stay(void **state)
{
    struct route_table routes;
    struct event e = sample_event();
    struct message m;
    struct err err;
    size_t before;
    char *payload = xmalloc(100000);

    (void)state;
    memset(payload, '1', 100000);
    route_table_init(&routes);
    message_init(&m);
    e.payload = (struct slice){payload, 100000};
    assert_int_equal(message_build(&m, &routes, &e, &err), 0);
    before = allocations;
    for (size_t len = 100000; len > 0; len /= 2) {
        e.payload.len = len;
        assert_int_equal(message_build(&m, &routes, &e, &err), 0);
    }
    assert_int_equal(allocations - before, 0);
    message_release(&m);
    route_table_release(&routes);
    free(payload);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_counter_counts),
        cmocka_unit_test(none_per_event),
        cmocka_unit_test(buffers_stay),
    };

    start_counting();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
