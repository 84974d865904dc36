/* Parsing a text as the file t.yaml, as all tests of loading do it. */
#ifndef OUTBOXD_TESTS_PARSING_H
#define OUTBOXD_TESTS_PARSING_H

#include "../../support/check.h"

#include "settings/settings.h"

#include <stdlib.h>

#define BROKERS "kafka: {brokers: \"b:9092\"}\n"

static inline int parse(struct settings *s, const char *yaml, struct settings_problems *p,
                        struct err *err)
{
    return settings_parse(s, slice_of(yaml), "t.yaml", p, err);
}

/* Loads or fails the test with the problem's text. */
static inline void load(struct settings *s, const char *yaml)
{
    struct err err = {0};

    if (parse(s, yaml, NULL, &err) != 0)
        fail_msg("%s\n%s", err.text, yaml);
}

struct bad {
    const char *yaml;
    const char *place; /* what the problem starts with */
    const char *part;  /* what else is in it */
};

static inline void expect_bad(const struct bad *b)
{
    struct settings s;
    struct settings_problems p;
    struct err err = {0};

    if (parse(&s, b->yaml, &p, &err) == 0)
        fail_msg("accepted:\n%s", b->yaml);
    if (strncmp(err.text, b->place, strlen(b->place)) != 0 || strstr(err.text, b->part) == NULL)
        fail_msg("expected %s ... %s\n     got %s\n%s", b->place, b->part, err.text, b->yaml);
    assert_int_equal(err.kind, ERR_CONFIG);
    assert_int_equal(p.count, 1);
    assert_string_equal(p.text[0], err.text);
    assert_string_equal(s.relay.name, "outbox"); /* the defaults again */
    settings_problems_release(&p);
    settings_release(&s);
}

#endif
