/* libFuzzer: any bytes as a configuration file.
 *
 *   clang-14 -g -O1 -std=c11 -D_GNU_SOURCE -fsanitize=fuzzer,address,undefined -Isrc
 *       tests/fuzz/fuzz_settings.c src/settings/nearest.c src/app/settings(all).c
 * src/message/(all).c src/base/str.c src/base/err.c src/kafka/config.c -lyaml -lrdkafka -ljansson
 *       -o fuzz_settings && ./fuzz_settings -max_total_time=120 corpus config
 *
 * What is refused has a text. What is accepted prints as a file that is accepted too and prints the
 * same; only hidden secrets make the two settings differ. */
#include "settings/settings.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond))                                                                               \
            abort();                                                                               \
    } while (0)

/* Files of secrets would make a run depend on this machine, and on what is in /dev. */
static int names_a_file(const uint8_t *data, size_t size)
{
    return memmem(data, size, "_file", 5) != NULL;
}

static char *print(const struct settings *s, size_t *size)
{
    char *text = NULL;
    FILE *f = open_memstream(&text, size);

    CHECK(f != NULL);
    settings_print(s, f);
    CHECK(fclose(f) == 0);
    return text;
}

static void check_again(const struct settings *s)
{
    struct settings again;
    struct err err = {0};
    size_t first_size = 0;
    size_t second_size = 0;
    char *first = print(s, &first_size);
    char *second;

    if (settings_parse(&again, (struct slice){first, first_size}, "again", NULL, &err) != 0) {
        (void)fprintf(stderr, "%s\n%s", err.text, first);
        abort();
    }
    second = print(&again, &second_size);
    CHECK(first_size == second_size && memcmp(first, second, first_size) == 0);
    free(first);
    free(second);
    settings_release(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct settings s;
    struct settings_problems problems;
    struct err err = {0};
    char *copy;

    if (names_a_file(data, size))
        return 0;
    copy = malloc(size == 0 ? 1 : size); /* the exact size: reading beyond it is seen */
    memcpy(copy, data, size);
    if (settings_parse(&s, (struct slice){copy, size}, "fuzz", &problems, &err) != 0) {
        CHECK(err.kind == ERR_CONFIG && problems.count > 0);
        for (size_t i = 0; i < problems.count; i++)
            CHECK(strncmp(problems.text[i], "fuzz:", 5) == 0);
    } else {
        CHECK(problems.count == 0);
        check_again(&s);
    }
    settings_problems_release(&problems);
    settings_release(&s);
    free(copy);
    return 0;
}
