/* librdkafka's log lines of a broker that is down for hours: told once, then counts that come more
 * and more rarely. stderr is a file meanwhile. */
#include "../../support/check.h"

#include "base/log.h"
#include "kafka/logs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BEATS_OF_AN_HOUR (3600 / KAFKA_LOGS_BEAT_S)

static char text[65536];
static FILE *log_file;
static int real_stderr;

static void begin(void)
{
    (void)fflush(stderr);
    log_file = tmpfile();
    assert_non_null(log_file);
    real_stderr = dup(STDERR_FILENO);
    assert_true(dup2(fileno(log_file), STDERR_FILENO) >= 0);
}

static void end(void)
{
    size_t len;

    (void)dup2(real_stderr, STDERR_FILENO);
    (void)close(real_stderr);
    (void)fseek(log_file, 0, SEEK_SET);
    len = fread(text, 1, sizeof text - 1, log_file);
    text[len] = '\0';
    (void)fclose(log_file);
}

static int count(const char *part)
{
    return occurrences(text, part);
}

static void say(struct kafka_logs *logs, int i)
{
    char line[128];

    (void)snprintf(line, sizeof line, "127.0.0.1:9092/1: Connect failed (after %dms)", i);
    kafka_logs_line(logs, 3, "FAIL", line);
}

static void an_hour_is_a_few_lines(void **state)
{
    struct kafka_logs logs;

    (void)state;
    begin();
    kafka_logs_init(&logs, NULL);
    for (int beat = 0; beat < BEATS_OF_AN_HOUR; beat++) {
        for (int i = 0; i < 30; i++)
            say(&logs, beat + i);
        kafka_logs_beat(&logs);
    }
    kafka_logs_release(&logs);
    end();
    assert_int_equal(count("msg=\"kafka client\""), 1);
    /* after 1, 2, 4 ... 64 beats, and what was left when it was released; of 3600 lines one was
     * told, and the others were counted */
    assert_int_equal(count("kafka client, repeated"), 7);
    assert_int_equal(count("times=29 "), 1);
    assert_int_equal(count("times=60 "), 1);
    assert_int_equal(count("times=960 "), 1);
    assert_int_equal(count("times=1710 "), 1);
    assert_contains(text, "level=warn");
}

static void what_stays_away_is_new_when_it_comes_back(void **state)
{
    struct kafka_logs logs;

    (void)state;
    begin();
    kafka_logs_init(&logs, NULL);
    say(&logs, 1);
    kafka_logs_beat(&logs);
    say(&logs, 2);
    kafka_logs_beat(&logs);
    kafka_logs_line(&logs, 3, "FAIL", "something else");
    kafka_logs_release(&logs);
    end();
    assert_int_equal(count("Connect failed"), 2);
    assert_int_equal(count("repeated"), 0);
    assert_int_equal(count("something else"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_hour_is_a_few_lines),
        cmocka_unit_test(what_stays_away_is_new_when_it_comes_back),
    };

    log_setup(LOG_INFO, LOG_LOGFMT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
