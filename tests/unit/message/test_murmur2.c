/* The reference values come from org.apache.kafka.common.utils.Utils.murmur2 of
 * kafka-clients 4.1.1; the first six are also in Kafka's own UtilsTest. The partitions are
 * Utils.toPositive(murmur2(key)) % n. */
#include "message/murmur2.h"

#include "sample.h"

struct vector {
    struct slice key;
    int32_t hash;
    int32_t of_4;
    int32_t of_12;
};

#define KEY(text)                                                                                  \
    {                                                                                              \
        .ptr = (text), .len = sizeof(text) - 1                                                     \
    }

static const struct vector texts[] = {
    {KEY("21"), -973932308, 0, 0},
    {KEY("foobar"), -790332482, 2, 6},
    {KEY("a-little-bit-long-string"), -985981536, 0, 8},
    {KEY("a-little-bit-longer-string"), -1486304829, 3, 11},
    {KEY("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8"), -58897971, 1, 5},
    {KEY("abc"), 479470107, 3, 3},
    {KEY(""), 275646681, 1, 9},
    {KEY("1234"), -1614185708, 0, 0},
    {KEY("kafka"), -798503068, 0, 4},
    {KEY("giberish123456789"), -1890243828, 0, 8},
    {KEY("PreAmbleWillBeRemoved,ThePrePartThatIs"), 2017611548, 0, 8},
    {KEY("order-1"), 1221710326, 2, 10},
    {KEY(SAMPLE_ID), -783664603, 1, 1},
    {KEY("Zo\xc3\xab \xe2\x98\x83 \xf0\x9f\x98\x80"), -620394925, 3, 7},
};

/* Bytes above 127 in every place of the tail: Java's bytes are signed. */
static const struct {
    struct slice key;
    int32_t hash;
    int32_t of_7;
} bytes[] = {
    {KEY("\x35"), 55100550, 1},
    {KEY("\xf7\x8a"), 1288432276, 5},
    {KEY("\xe1\xbb\xe7"), -983584298, 5},
    {KEY("\x28\xc0\x45\x0c"), -392157833, 5},
    {KEY("\xe4\x3c\x08\x4f\x4b"), 650222576, 3},
    {KEY("\x83\x9d\xee\x46\x6d\x85"), 609540322, 6},
    {KEY("\xbe\x6a\x61\xaa\x9a\x0c\x61"), -2055415863, 5},
    {KEY("\xbd\x67\x43\xe7\xdc\x97\x85\x73"), 496582918, 6},
    {KEY("\x99\x8e\x68\x5e\x88\x5c\xb3\x61\xf8"), -2143606509, 0},
    {KEY("\x20\xbe\xbf\xb0\x11\x00\xb2\x76\x54\x57"), 1749477346, 1},
    {KEY("\x0f\x40\x6c\xc8\xe3\xa1\x88\xff\xf1\x10\x59"), 239636182, 2},
    {KEY("\x6f\xbc\xe6\x26\x55\xdf\xbd\x6f\x83\xb8\x96\x70"), -715584511, 4},
    {KEY("\xd6\xd9\xf9\xbf\x52\xd8\x3d\xee\xdc\x0b\xf6\x62\x05"), 1343331766, 0},
    {KEY("\x16\xad\x68\x2d\x8c\x47\x8a\x26\xf4\x50\x27\x98\x49\x59"), 434214673, 4},
    {KEY("\xdd\x53\xb3\x35\x1a\x57\x2b\x40\xf2\x7f\x72\xd3\x7f\x34\x7b"), -221833639, 3},
    {KEY("\x99\x79\x16\x2c\xfa\x95\x9d\x28\x32\xa4\x61\x96\xd9\x2c\x30\x46"), 1156755985, 0},
    {KEY("\x97\xe9\x53\xc0\x02\x6c\xc4\xa4\x5e\xb3\x2f\x92\x82\x9e\x8d\x14\xee"), 963358898, 5},
    {KEY("\xed\xc9\x35\x17\xef\x7d\xa4\xc0\xce\x29\x72\xcc\x9b\x06\x0b\x08\xb6\x46"), -2060683994,
     4},
    {KEY("\xf3\xa3\xa0\x5b\xb1\x02\xf7\x32\xed\x23\x5b\xd1\x28\x3e\xd5\x02\x11\x92\xed"),
     1371039565, 0},
    {KEY("\x75\x43\x00\xc5\x23\x67\x5a\xf9\xb6\xc4\xa5\x14\xca\xca\xa1\xb6\xa7\x36\x73\x88"),
     2095085038, 4},
    {KEY("\x53\xee\x06\x7b\x87\x84\x9a\xdf\x01\x00\xaa\x4a\x52\xcc\x32\x38\x8c\x08\x2a\xf3\xd5"),
     1894527541, 4},
    {KEY("\xbc\xc0\x0b\xd2\x6f\xae\x51\x30\x3f\x23\xfb\xa2\x77\xb4\xe0\x60\x2c\xbf\x7e\x5e\x9b"
         "\xa8"),
     -853930442, 1},
    {KEY("\xda\xa9\x39\x5c\xbb\x3c\xb0\x6f\xea\xf2\x45\x6f\x0a\x57\x17\xa6\xb5\xbb\x12\x75\x79\x09"
         "\x2b"),
     -273274790, 4},
    {KEY("\x83\x1b\x02\x79\xbb\x50\x70\xf3\x31\xdc\x11\x78\x64\x81\x86\x8c\x36\x67\xcb\xd3\xed\x40"
         "\x91\x09"),
     -297435578, 3},
    {KEY("\x1e\x01\xaa\x26\xa3\xd1\x75\x0d\xfb\x41\x78\xd5\xd1\xa3\xe2\xc9\x5d\xa3\xd6\x75\x9f\x5b"
         "\xe1\xc2\xc7"),
     525227248, 0},
    {KEY("\x80\x1a\xa2\xa1\xc6\xb5\x2a\x32\x1e\xac\x46\x58\x0e\xdd\xe4\x2d\x2e\x8a\x65\xf6\x4b\xa6"
         "\x9d\xdd\x91\x4f"),
     -2088283788, 6},
    {KEY("\x89\x34\x91\x7c\xa0\x7a\x54\x8c\x5d\xcd\xc4\x6b\xa9\x17\x16\x02\x39\xc1\x03\xa2\xdb\x67"
         "\xf4\xc1\x8e\xef\x29"),
     -1836837953, 3},
    {KEY("\x2f\xa6\x8b\xa1\xaa\x5d\xb9\x50\x1d\xfb\xfb\x11\x77\xb5\x55\x92\x14\x51\xec\x57\x7c\xa9"
         "\xfa\x5e\x10\x5f\x6c\x4a"),
     2061413336, 3},
    {KEY("\xdb\x3d\x2f\xdf\xc7\xb3\x60\x27\x1f\x62\x44\xce\x3d\x23\x6f\x40\x0c\x2e\xc0\x9d\xc6\x81"
         "\x4b\x62\xdd\x03\xd6\x5f\xbe"),
     -1741989593, 1},
};

static void same_as_the_java_client(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        const struct vector *v = &texts[i];

        assert_int_equal((int32_t)murmur2(v->key.ptr, v->key.len), v->hash);
        assert_int_equal(murmur2_partition(v->key.ptr, v->key.len, 4), v->of_4);
        assert_int_equal(murmur2_partition(v->key.ptr, v->key.len, 12), v->of_12);
        assert_int_equal(murmur2_partition(v->key.ptr, v->key.len, 1), 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(bytes); i++) {
        assert_int_equal((int32_t)murmur2(bytes[i].key.ptr, bytes[i].key.len), bytes[i].hash);
        assert_int_equal(murmur2_partition(bytes[i].key.ptr, bytes[i].key.len, 7), bytes[i].of_7);
    }
}

static void does_not_care_where_the_key_lies(void **state)
{
    char buffer[64];

    (void)state;
    for (size_t shift = 0; shift < 8; shift++) {
        (void)snprintf(buffer + shift, sizeof buffer - shift, "a-little-bit-longer-string");
        assert_int_equal((int32_t)murmur2(buffer + shift, 26), -1486304829);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_as_the_java_client),
        cmocka_unit_test(does_not_care_where_the_key_lies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
