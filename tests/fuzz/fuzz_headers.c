/* libFuzzer: any bytes as a row's headers, and jansson as the second opinion.
 *
 *   clang-14 -g -O1 -D_GNU_SOURCE -fsanitize=fuzzer,address,undefined -Isrc \
 *     tests/fuzz/fuzz_headers.c src/message/?*.c src/base/str.c src/base/err.c \
 *     -ljansson -o fuzz_headers
 *   ./fuzz_headers -max_total_time=120
 *
 * Both must accept and refuse the same texts, but where we differ on purpose: numbers of any size,
 * names that come twice, bytes that are no UTF-8, and escapes inside of nested values pass through
 * us unread. */
#include "message/message.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct route_table routes;
static struct message m;

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond))                                                                               \
            abort();                                                                               \
    } while (0)

static void check_within_buffer(struct slice s)
{
    const char *start = m.header_buf.data;

    CHECK(s.ptr == NULL || (s.ptr >= start && s.ptr + s.len <= start + m.header_buf.len));
}

/* The text of a value that is neither string nor null means the same to jansson, and has no blanks
 * to spare. */
static void check_text(struct slice got, const json_t *want)
{
    json_t *again = json_loadb(got.ptr, got.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);

    CHECK(again != NULL && json_equal(again, want) == 1);
    json_decref(again);
}

/* jansson keeps the last of the members with one name. */
static const struct message_header *find_last(const char *name)
{
    for (size_t i = m.header_count; i-- > MESSAGE_OWN_HEADERS;)
        if (slice_is(m.headers[i].name, name))
            return &m.headers[i];
    return NULL;
}

static int is_ours(const char *name)
{
    return strcmp(name, HEADER_EVENT_ID) == 0 || strcmp(name, HEADER_EVENT_TYPE) == 0 ||
           strcmp(name, HEADER_EVENT_TIME) == 0 || strcmp(name, HEADER_CONTENT_TYPE) == 0;
}

static void compare(json_t *object)
{
    const char *name;
    json_t *value;

    json_object_foreach(object, name, value)
    {
        const struct message_header *h = find_last(name);

        CHECK((h == NULL) == (is_ours(name) != 0));
        if (h == NULL)
            continue;
        CHECK((h->value.ptr == NULL) == json_is_null(value));
        if (json_is_string(value)) {
            CHECK(h->value.len == json_string_length(value));
            CHECK(memcmp(h->value.ptr, json_string_value(value), h->value.len) == 0);
        } else if (!json_is_null(value)) {
            check_text(h->value, value);
        }
    }
}

/* What we accept and jansson does not. */
static int differs_on_purpose(const json_error_t *e)
{
    switch (json_error_code(e)) {
    case json_error_invalid_utf8:
    case json_error_numeric_overflow:
    case json_error_null_byte_in_key: /* in a nested name: not decoded by us */
        return 1;
    default:
        return strstr(e->text, "Unicode") != NULL; /* a nested half of a surrogate pair */
    }
}

static int is_nested_deeper(const char *text, size_t len, int limit)
{
    int open = 0;

    for (size_t i = 0; i < len; i++)
        open += text[i] == '[' || text[i] == '{' ? 1 : 0;
    return open > limit;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = malloc(size == 0 ? 1 : size); /* the exact size: reading beyond it is seen */
    struct event e = {.event_id = {1}, .aggregate_type = SLICE_LIT("a"), .payload = SLICE_LIT("1")};
    struct err err = {0};
    json_error_t why = {0};
    json_t *object;
    int rc;

    if (routes.count == 0) {
        route_table_init(&routes);
        message_init(&m);
    }
    memcpy(copy, data, size);
    e.headers = (struct slice){copy, size};
    rc = message_build(&m, &routes, &e, &err);
    /* jansson skips some NUL bytes; JSON has none */
    CHECK(rc != 0 || memchr(copy, '\0', size) == NULL);
    object = memchr(copy, '\0', size) == NULL
                 ? json_loadb(copy, size, JSON_DECODE_ANY | JSON_ALLOW_NUL, &why)
                 : NULL;
    if (rc == 0) {
        for (size_t i = MESSAGE_OWN_HEADERS; i < m.header_count; i++) {
            check_within_buffer(m.headers[i].name);
            check_within_buffer(m.headers[i].value);
            CHECK(strlen(m.headers[i].name.ptr) == m.headers[i].name.len);
        }
        CHECK(object != NULL || differs_on_purpose(&why));
        CHECK(object == NULL || json_is_object(object) || json_is_null(object));
        if (object != NULL && json_is_object(object))
            compare(object);
    } else {
        CHECK(err.kind == ERR_CONFIG && strstr(err.text, "row") != NULL);
        /* what jansson takes for an object, we only refuse for our limits */
        CHECK(!json_is_object(object) || strstr(err.text, "more than 60") != NULL ||
              is_nested_deeper(copy, size, 500));
    }
    json_decref(object);
    free(copy);
    return 0;
}
