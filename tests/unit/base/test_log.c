/* Log lines as they leave the process: stderr is a pipe meanwhile. */
#include "base/log.h"

#include "base/clock.h"
#include "base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <jansson.h>
#include <regex.h>
#include <string.h>
#include <unistd.h>

static char captured[65536];
static int real_stderr = -1;
static int pipe_ends[2];

static void begin(void)
{
    assert_int_equal(pipe(pipe_ends), 0);
    real_stderr = dup(STDERR_FILENO);
    assert_true(dup2(pipe_ends[1], STDERR_FILENO) >= 0);
}

/* What was written since begin(). Stays below the 64 KiB that a pipe holds. */
static const char *end(void)
{
    size_t len = 0;
    ssize_t n;

    (void)dup2(real_stderr, STDERR_FILENO);
    (void)close(real_stderr);
    (void)close(pipe_ends[1]);
    while ((n = read(pipe_ends[0], captured + len, sizeof captured - 1 - len)) > 0)
        len += (size_t)n;
    captured[len] = '\0';
    (void)close(pipe_ends[0]);
    return captured;
}

/* Checks the time in front, which is the only part that changes, and returns the rest. */
static const char *after_time(const char *line, const char *pattern)
{
    regex_t re;
    regmatch_t m;

    assert_int_equal(regcomp(&re, pattern, REG_EXTENDED), 0);
    assert_int_equal(regexec(&re, line, 1, &m, 0), 0);
    regfree(&re);
    assert_int_equal(m.rm_so, 0);
    return line + m.rm_eo;
}

#define RFC3339_MS "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z"

static void logfmt(void **state)
{
    const char *line;

    (void)state;
    log_setup(LOG_INFO, LOG_LOGFMT);
    begin();
    log_info("lease taken", LOG_I("epoch", -7), LOG_S("instance", "db-1"), LOG_S("empty", ""),
             LOG_S("absent", NULL), LOG_S("text", "a \"b\"\n\\"), LOG_S("eq", "a=b"),
             LOG_I("max", INT64_MAX));
    line = end();
    assert_string_equal(after_time(line, "^time=" RFC3339_MS),
                        " level=info msg=\"lease taken\" epoch=-7 instance=db-1 empty=\"\" "
                        "text=\"a \\\"b\\\"\\n\\\\\" eq=\"a=b\" max=9223372036854775807\n");
}

static void json(void **state)
{
    const char *line;

    (void)state;
    log_setup(LOG_INFO, LOG_JSON);
    begin();
    log_error("it \"broke\"", LOG_I("n", 1), LOG_S("s", "x\ty\x01"), LOG_S("absent", NULL));
    line = end();
    assert_string_equal(after_time(line, "^\\{\"time\":\"" RFC3339_MS "\""),
                        ",\"level\":\"error\",\"msg\":\"it \\\"broke\\\"\",\"n\":1,"
                        "\"s\":\"x\\ty\\u0001\"}\n");
}

static void json_lines_parse(void **state)
{
    const char *line;
    json_t *object;
    char all[256];

    (void)state;
    for (int c = 1; c < 128; c++)
        all[c - 1] = (char)c;
    all[127] = '\0';
    log_setup(LOG_DEBUG, LOG_JSON);
    begin();
    log_debug("every character", LOG_S("s", all));
    line = end();
    object = json_loads(line, 0, NULL);
    assert_non_null(object);
    assert_string_equal(json_string_value(json_object_get(object, "s")), all);
    assert_string_equal(json_string_value(json_object_get(object, "level")), "debug");
    json_decref(object);
}

/* A terminal must not be steered by what a server or a row said. */
static void no_control_characters_in_logfmt(void **state)
{
    const char *line;

    (void)state;
    log_setup(LOG_INFO, LOG_LOGFMT);
    begin();
    log_info("x", LOG_S("esc", "\x1b[2J"), LOG_S("bell", "\a"), LOG_S("vt", "a\vb"));
    line = end();
    assert_non_null(strstr(line, " esc=\"\\u001b[2J\" bell=\"\\u0007\" vt=\"a\\u000bb\"\n"));
    for (const char *p = line; *p != '\0' && *p != '\n'; p++)
        assert_true((unsigned char)*p >= 0x20);
}

static void levels(void **state)
{
    static const enum log_level all[] = {LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_SILENT};
    static const char *const words[] = {"debug", "info", "warn", "error"};

    (void)state;
    for (size_t threshold = 0; threshold < ARRAY_LEN(all); threshold++) {
        size_t lines = 0;

        log_setup(all[threshold], LOG_LOGFMT);
        begin();
        log_debug("m", LOG_END);
        log_info("m", LOG_END);
        log_warn("m", LOG_END);
        log_error("m", LOG_END);
        (void)end();
        for (const char *p = captured; *p != '\0'; p++)
            lines += *p == '\n' ? 1 : 0;
        assert_int_equal(lines, 4 - threshold);
        for (size_t i = 0; i < ARRAY_LEN(words); i++) {
            char part[32];

            (void)snprintf(part, sizeof part, "level=%s msg=m\n", words[i]);
            assert_int_equal(strstr(captured, part) != NULL, i >= threshold);
            assert_int_equal(log_enabled(all[i]), i >= threshold);
        }
        assert_false(log_enabled(LOG_SILENT));
    }
}

/* Without fields, and with a closed stderr, nothing goes wrong. */
static void a_failed_write_is_ignored(void **state)
{
    int saved = dup(STDERR_FILENO);

    (void)state;
    log_setup(LOG_INFO, LOG_LOGFMT);
    (void)close(STDERR_FILENO);
    log_info("into the void", LOG_END);
    assert_int_equal(dup2(saved, STDERR_FILENO), STDERR_FILENO);
    (void)close(saved);
}

static void the_clock(void **state)
{
    char text[CLOCK_RFC3339_SIZE];
    uint64_t us = clock_now_us();
    uint64_t ms = clock_now_ms();

    (void)state;
    assert_true(ms >= us / 1000 && ms < us / 1000 + 10000);
    assert_true(clock_now_us() >= us);
    assert_true(clock_wall_us() > 1700000000000000);
    clock_format_ms(1769860800123999, text);
    assert_string_equal(text, "2026-01-31T12:00:00.123Z");
    clock_format_ms(0, text);
    assert_string_equal(text, "1970-01-01T00:00:00.000Z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logfmt),           cmocka_unit_test(json),
        cmocka_unit_test(json_lines_parse), cmocka_unit_test(no_control_characters_in_logfmt),
        cmocka_unit_test(levels),           cmocka_unit_test(a_failed_write_is_ignored),
        cmocka_unit_test(the_clock),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
