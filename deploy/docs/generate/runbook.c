/* deploy/docs/runbook.md: a section for each entry of base/problem.h, with its word as the anchor,
 * and one for each alert that is about a figure and not about a problem. */
#include "generate.h"

#include "base/problem.h"

#include <string.h>

#define TEXTS "deploy/docs/generate/runbook.txt"

static const char *class_title(enum problem_class class)
{
    switch (class) {
    case PROBLEM_PASSES:
        return "Waits, and goes on by itself";
    case PROBLEM_PERSON:
        return "Needs a person; tried again all the time";
    case PROBLEM_FINAL:
        return "Needs a person; `run` ends";
    case PROBLEM_NOTICE:
        return "Publishing goes on; look before it becomes something";
    }
    return "";
}

static const char *class_text(enum problem_class class)
{
    switch (class) {
    case PROBLEM_PASSES:
        return "the relay stays up, keeps its lease where it can, and tries again with growing "
               "pauses. Events wait in their table; nothing is lost, skipped or reordered, and it "
               "goes on without a restart.";
    case PROBLEM_PERSON:
        return "the relay stays up and tries again all the time, but somebody has to mend "
               "something. Events wait in their table; nothing is lost, skipped or reordered, and "
               "it goes on without a restart once it is mended. SIGHUP makes it try at once.";
    case PROBLEM_FINAL:
        return "`run` ends with exit code 78 (70 for `internal_error`), because trying again "
               "cannot help, and its last line says why. Nothing is published until it is mended "
               "and the relay started again; events wait in their table.";
    case PROBLEM_NOTICE:
        return "events are published as ever.";
    }
    return "";
}

static void put_problem(struct str *out, enum problem p, const struct section *by_hand)
{
    static const char own[] = "**Meanwhile:**"; /* the text says it itself */
    bool says_it = strncmp(by_hand->text.ptr, own, sizeof own - 1) == 0;

    str_printf(out, "\n### %s\n\n**What happened:** %s.\n\n**What to do:** %s.\n", problem_word(p),
               problem_what(p), problem_advice(p));
    if (!says_it)
        str_printf(out, "\n%s %s\n", own, class_text(problem_class(p)));
    str_printf(out, "\n%.*s\n", SLICE_FMT(by_hand->text));
}

static int put_class(struct str *out, struct sections *texts, enum problem_class class,
                     struct err *err)
{
    str_printf(out, "\n## %s\n", class_title(class));
    for (unsigned i = PROBLEM_NONE + 1; i < PROBLEM_COUNT; i++) {
        enum problem p = (enum problem)i;
        const struct section *by_hand;

        if (problem_class(p) != class)
            continue;
        by_hand = sections_take(texts, problem_word(p), err);
        if (by_hand == NULL)
            return -1;
        put_problem(out, p, by_hand);
    }
    return 0;
}

/* What the alerts tell beside problems: "alert NAME" in the file of texts. */
static void put_alerts(struct str *out, struct sections *texts)
{
    static const char prefix[] = "alert ";
    const size_t len = sizeof prefix - 1;

    str_puts(out, "\n## Figures that alerts are about\n");
    for (size_t i = 0; i < texts->count; i++) {
        struct section *s = &texts->at[i];

        if (strncmp(s->word, prefix, len) != 0)
            continue;
        s->taken = true;
        str_printf(out, "\n### %s\n\n%.*s\n", s->word + len, SLICE_FMT(s->text));
    }
}

static void put_index(struct str *out)
{
    str_puts(out, "\n| Word | What happened |\n|---|---|\n");
    for (unsigned i = PROBLEM_NONE + 1; i < PROBLEM_COUNT; i++) {
        enum problem p = (enum problem)i;

        str_printf(out, "| [`%s`](#%s) | %s |\n", problem_word(p), problem_word(p),
                   problem_what(p));
    }
}

int put_runbook_md(struct str *out, struct err *err)
{
    struct sections texts;
    const struct section *head;
    int rc = sections_load(&texts, TEXTS, err);

    if (rc != 0)
        goto out;
    rc = -1;
    head = sections_take(&texts, "runbook", err);
    if (head == NULL)
        goto out;
    str_printf(out, "# Runbook\n\n%.*s\n", SLICE_FMT(head->text));
    put_index(out);
    for (int class = PROBLEM_PASSES; class <= PROBLEM_NOTICE; class ++)
        if (put_class(out, &texts, (enum problem_class) class, err) != 0)
            goto out;
    put_alerts(out, &texts);
    rc = sections_all_taken(&texts, err);
out:
    sections_release(&texts);
    return rc;
}
