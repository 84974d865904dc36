/* What is told of errors without a message: once, and why brokers refuse us stays. */
#include "../../support/check.h"

#include "kafka/told.h"

static struct event_base *base;
static struct told told;

static int setup(void **state)
{
    (void)state;
    base = event_base_new();
    told = (struct told){0};
    return base == NULL || told_init(&told, base) != 0;
}

static int teardown(void **state)
{
    (void)state;
    told_release(&told);
    event_base_free(base);
    return 0;
}

static void once_until_a_message_gets_through(void **state)
{
    (void)state;
    assert_false(told_before(&told, RD_KAFKA_RESP_ERR__TRANSPORT));
    assert_true(told_before(&told, RD_KAFKA_RESP_ERR__TRANSPORT));
    assert_false(told_before(&told, RD_KAFKA_RESP_ERR__RESOLVE));
    told_acked(&told); /* too soon: what comes and goes is told every ten seconds at most */
    assert_true(told_before(&told, RD_KAFKA_RESP_ERR__TRANSPORT));
    assert_int_equal(evtimer_del(told.again), 0); /* as if they were over */
    assert_true(told_before(&told, RD_KAFKA_RESP_ERR__TRANSPORT));
    told_acked(&told);
    assert_false(told_before(&told, RD_KAFKA_RESP_ERR__TRANSPORT));
    told_forget(&told);
    assert_false(told_before(&told, RD_KAFKA_RESP_ERR__TRANSPORT));
}

static void more_codes_than_can_be_kept(void **state)
{
    (void)state;
    for (int i = 0; i < 2 * TOLD_CODES; i++)
        assert_false(told_before(&told, (rd_kafka_resp_err_t)(i + 1)));
    assert_int_equal(told.count, TOLD_CODES);
    assert_true(told_before(&told, (rd_kafka_resp_err_t)1));
    assert_false(told_before(&told, (rd_kafka_resp_err_t)(2 * TOLD_CODES)));
}

static void a_refused_login_stays_until_somebody_answers(void **state)
{
    struct timeval left;

    (void)state;
    assert_string_equal(told.denied, "");
    told_deny(&told, "wrong password");
    told_forget(&told); /* another producer of the same configuration is refused as well */
    assert_string_equal(told.denied, "wrong password");
    assert_true(evtimer_pending(told.doubtful, &left)); /* and not for ever */
    told_answered(&told);
    assert_string_equal(told.denied, "");
    told_deny(&told, "wrong password");
    told_acked(&told);
    assert_string_equal(told.denied, "");
    told_deny(&told, "wrong password");
    event_active(told.doubtful, EV_TIMEOUT, 0);
    assert_true(event_base_loop(base, EVLOOP_NONBLOCK) >= 0);
    assert_string_equal(told.denied, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(once_until_a_message_gets_through, setup, teardown),
        cmocka_unit_test_setup_teardown(more_codes_than_can_be_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(a_refused_login_stays_until_somebody_answers, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
