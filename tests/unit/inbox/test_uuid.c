/* Ids as UUIDs. The expected ones were made by another implementation (Python's uuid5). */
#include "../../support/check.h"

#include "inbox.h"
#include "inbox/uuid.h"

#include <stdio.h>

static const uint8_t DNS[16] = {0x6b, 0xa7, 0xb8, 0x10, 0x9d, 0xad, 0x11, 0xd1,
                                0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8};

static const char *uuid(const char *source, const char *id)
{
    static char out[INBOX_UUID_SIZE];

    assert_int_equal(inbox_uuid(source, id, out), 0);
    return out;
}

static void a_uuid_stays(void **state)
{
    (void)state;
    assert_string_equal(uuid(NULL, "0190C2DE-7b1a-7c3e-9f7d-1f2e3d4c5b6a"),
                        "0190c2de-7b1a-7c3e-9f7d-1f2e3d4c5b6a");
    assert_string_equal(uuid("/orders", "0190c2de-7b1a-7c3e-9f7d-1f2e3d4c5b6a"),
                        "0190c2de-7b1a-7c3e-9f7d-1f2e3d4c5b6a");
}

static void other_texts_become_one(void **state)
{
    char text[201];

    (void)state;
    assert_string_equal(uuid(NULL, "order-4711"), "4f0eea9a-f035-51b4-9688-0ab5ca9c9dac");
    assert_string_equal(uuid("/orders", "4711"), "ce534b40-b85d-5c9a-a686-7e3f4cca2205");
    /* around the ends of SHA-1's blocks, with the namespace's 16 bytes before them */
    memset(text, 'a', sizeof text);
    text[47] = '\0';
    assert_string_equal(uuid(NULL, text), "c9c9724f-93d0-50f9-be3f-9fc3966cb8bc");
    text[47] = 'a';
    text[55] = '\0';
    assert_string_equal(uuid(NULL, text), "cc224fb9-08c1-5bac-bf75-ad730daf4626");
    text[55] = 'a';
    text[56] = '\0';
    assert_string_equal(uuid(NULL, text), "b2edd8b2-0dd1-53b6-8c37-4b31c5c7eaba");
    memset(text, 'x', 200);
    text[200] = '\0';
    assert_string_equal(uuid(NULL, text), "2f0fda09-d038-5670-88dc-783ad8e674d4");
}

static void known_namespace(void **state)
{
    char out[INBOX_UUID_SIZE];

    (void)state;
    uuid_from_name(DNS, slice_of("python.org"), out);
    assert_string_equal(out, "886313e1-3b8a-5372-9b90-0c9aee199e5d");
}

static void not_quite_uuids(void **state)
{
    static const char *const texts[] = {
        "0190c2de-7b1a-7c3e-9f7d-1f2e3d4c5b6", "0190c2de-7b1a-7c3e-9f7d-1f2e3d4c5b6aa",
        "0190c2de7b1a-7c3e-9f7d--1f2e3d4c5b6a", "0190c2dg-7b1a-7c3e-9f7d-1f2e3d4c5b6a",
        "{0190c2de-7b1a-7c3e-9f7d-1f2e3d4c5b6}"};
    char out[INBOX_UUID_SIZE];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        assert_false(uuid_read(slice_of(texts[i]), out));
        assert_int_equal(uuid(NULL, texts[i])[14], '5');
    }
    assert_int_equal(inbox_uuid(NULL, "", out), -1);
    assert_int_equal(inbox_uuid(NULL, NULL, out), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_uuid_stays),
        cmocka_unit_test(other_texts_become_one),
        cmocka_unit_test(known_namespace),
        cmocka_unit_test(not_quite_uuids),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
