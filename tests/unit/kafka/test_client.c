/* The opaque that a message carries: sequence number and chosen partition, packed and taken apart.
 */
#include "../../support/check.h"

#include "kafka/client.h"

#include <stdlib.h>

static void seq_comes_back(void **state)
{
    (void)state;
    static const uint64_t NEWEST[] = {
        0, 1, 49999, OPAQUE_SEQ_MASK, OPAQUE_SEQ_MASK + 1, UINT64_C(1) << 50, UINT64_MAX};
    static const int32_t PARTITIONS[] = {-1, 0, 1, 35, OPAQUE_PARTITION_MAX};
    for (size_t i = 0; i < sizeof(NEWEST) / sizeof(NEWEST[0]); i++) {
        for (uint64_t behind = 0; behind <= 50000 && behind <= NEWEST[i]; behind += 49999) {
            uint64_t seq = NEWEST[i] - behind;
            for (size_t p = 0; p < sizeof(PARTITIONS) / sizeof(PARTITIONS[0]); p++)
                assert_true(client_opaque_seq(client_opaque(seq, PARTITIONS[p]), NEWEST[i]) == seq);
        }
    }
}

static void partition_is_in_the_upper_bits(void **state)
{
    (void)state;
    assert_int_equal((uintptr_t)client_opaque(7, -1) >> OPAQUE_SEQ_BITS, 0);
    assert_int_equal((uintptr_t)client_opaque(7, 0) >> OPAQUE_SEQ_BITS, 1);
    assert_int_equal((uintptr_t)client_opaque(7, OPAQUE_PARTITION_MAX) >> OPAQUE_SEQ_BITS,
                     OPAQUE_PARTITION_MAX + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(seq_comes_back),
        cmocka_unit_test(partition_is_in_the_upper_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
