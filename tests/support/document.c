#include "document.h"

#include "tmp.h"

#include "base/str.h"

#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FENCE "```"

/* ---- reading ---- */

static bool starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* Takes the words of an opening fence apart. */
static void read_fence(const struct document *d, struct block *b, char *words)
{
    char *rest = NULL;
    bool first = true;

    for (char *word = strtok_r(words, " \r\n", &rest); word != NULL;
         word = strtok_r(NULL, " \r\n", &rest)) {
        if (first)
            (void)snprintf(b->language, sizeof b->language, "%s", word);
        else if (strcmp(word, "run") == 0)
            b->kind = BLOCK_RUN;
        else if (strcmp(word, "output") == 0)
            b->kind = BLOCK_OUTPUT;
        else if (b->kind == BLOCK_RUN && strcmp(word, "again") == 0)
            b->again = true;
        else if (b->kind == BLOCK_RUN && starts_with(word, "exit="))
            b->exit_code = (int)strtol(word + strlen("exit="), NULL, 10);
        else if (starts_with(word, "save=")) {
            b->kind = BLOCK_SAVE;
            (void)snprintf(b->file, sizeof b->file, "%s", word + strlen("save="));
        } else
            support_fail("%s:%d: a block that is marked \"%s\"", d->name, b->line, word);
        first = false;
    }
}

static struct block *add_block(struct document *d, int line, const char *section)
{
    struct block *b;

    d->blocks = xrealloc(d->blocks, (d->count + 1) * sizeof d->blocks[0]);
    b = &d->blocks[d->count++];
    *b = (struct block){.line = line, .section = xstrdup(section)};
    return b;
}

void document_read(struct document *d, const char *name)
{
    char path[PATH_SIZE];
    char *text;
    char section[128] = "";
    struct block *open = NULL;
    struct str body = {0};
    int line = 0;

    *d = (struct document){.name = name};
    path_join(path, source_root(), name);
    text = file_read(path);
    for (char *at = text, *next; *at != '\0'; at = next) {
        char *end = strchr(at, '\n');

        next = end == NULL ? at + strlen(at) : end + 1;
        line++;
        if (open != NULL && starts_with(at, FENCE)) {
            open->text = xstrdup(str_text(&body));
            open = NULL;
        } else if (open != NULL) {
            str_put(&body, at, (size_t)(next - at));
        } else if (starts_with(at, FENCE)) {
            char *words = xstrndup(at + strlen(FENCE), (size_t)(next - at) - strlen(FENCE));

            open = add_block(d, line, section);
            read_fence(d, open, words);
            free(words);
            str_reset(&body);
        } else if (*at == '#') {
            at += strspn(at, "# ");
            (void)snprintf(section, sizeof section, "%.*s", (int)strcspn(at, "\n"), at);
        }
    }
    if (open != NULL)
        support_fail("%s:%d: a block without an end", name, open->line);
    str_release(&body);
    free(text);
}

void document_release(struct document *d)
{
    for (size_t i = 0; i < d->count; i++) {
        free(d->blocks[i].text);
        free(d->blocks[i].section);
    }
    free(d->blocks);
    *d = (struct document){0};
}

/* ---- pieces of code ---- */

/* Takes the pieces out of a paragraph, in which a line break is a blank. */
static void take_spans(char *paragraph, void (*take)(void *ctx, const char *code), void *ctx)
{
    for (char *at = strchr(paragraph, '`'); at != NULL;) {
        char *end = strchr(at + 1, '`');

        if (end == NULL)
            break;
        *end = '\0';
        take(ctx, at + 1);
        at = strchr(end + 1, '`');
    }
}

void document_each_code(const char *name, void (*take)(void *ctx, const char *code), void *ctx)
{
    char path[PATH_SIZE];
    struct str paragraph = {0};
    char *text;
    char *rest;
    bool fenced = false;
    bool output = false; /* of a program: no code */

    path_join(path, source_root(), name);
    text = file_read(path);
    rest = text;
    for (char *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n")) {
        const bool fence = starts_with(line, FENCE);

        if (fence || *line == '\0') {
            take_spans((char *)(uintptr_t)str_text(&paragraph), take, ctx);
            str_reset(&paragraph);
        } else if (fenced || starts_with(line, "    ")) {
            if (!fenced || !output)
                take(ctx, line + strspn(line, " "));
        } else {
            str_printf(&paragraph, "%s ", line);
        }
        fenced = fence ? !fenced : fenced;
        output = fence ? fenced && strstr(line, " output") != NULL : output;
    }
    take_spans((char *)(uintptr_t)str_text(&paragraph), take, ctx);
    str_release(&paragraph);
    free(text);
}

/* ---- comparing ---- */

/* What differs from run to run, and what is put in its place; in this order. */
static const struct {
    const char *pattern;
    const char *kind;
} masks[] = {
    {"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<id>"},
    {"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z", "<time>"},
    {"\\b[0-9]+:[0-9]+:[0-9,]*", "<position>"},
    {"\\b[0-9]+(\\.[0-9]+)? (us|ms|s|min|h)( [0-9]+ (s|min))?\\b", "<duration>"},
    {" +\n", "\n"},
    /* bash, of a process that was ended; an interactive one says it in other words */
    {"[^\n]*: line [0-9]+: +[0-9]+ (Killed|Terminated) [^\n]*\n", ""},
};

static char *mask(const char *text)
{
    char *now = xstrdup(text);

    for (size_t i = 0; i < ARRAY_LEN(masks); i++) {
        struct str masked = {0};
        regmatch_t hit;
        regex_t regex;
        const char *at = now;

        if (regcomp(&regex, masks[i].pattern, REG_EXTENDED) != 0)
            support_fail("regular expression %s", masks[i].pattern);
        while (regexec(&regex, at, 1, &hit, at == now ? 0 : REG_NOTBOL) == 0 && hit.rm_eo > 0) {
            str_put(&masked, at, (size_t)hit.rm_so);
            str_puts(&masked, masks[i].kind);
            at += hit.rm_eo;
        }
        str_puts(&masked, at);
        regfree(&regex);
        free(now);
        now = masked.data;
    }
    return now;
}

#define ANY "..."

/* One line, from `shown` and `printed` up to their ends. */
static bool line_matches(const char *shown, const char *shown_end, const char *printed,
                         const char *printed_end)
{
    while (shown < shown_end) {
        if (shown_end - shown >= 3 && starts_with(shown, ANY)) {
            for (; printed <= printed_end; printed++)
                if (line_matches(shown + 3, shown_end, printed, printed_end))
                    return true;
            return false;
        }
        if (printed == printed_end || *shown++ != *printed++)
            return false;
    }
    return printed == printed_end;
}

static bool lines_match(const char *shown, const char *printed)
{
    while (*shown != '\0') {
        const char *shown_end = shown + strcspn(shown, "\n");
        const char *shown_next = shown_end + (*shown_end == '\n');
        const char *printed_end = printed + strcspn(printed, "\n");

        if (shown_end - shown == 3 && starts_with(shown, ANY)) {
            for (;;) {
                if (lines_match(shown_next, printed))
                    return true;
                if (*printed == '\0')
                    return false;
                printed += strcspn(printed, "\n");
                printed += *printed == '\n';
            }
        }
        if (*printed == '\0' || !line_matches(shown, shown_end, printed, printed_end))
            return false;
        shown = shown_next;
        printed = printed_end + (*printed_end == '\n');
    }
    return *printed == '\0';
}

bool output_matches(const char *shown, const char *printed)
{
    char *a = mask(shown);
    char *b = mask(printed);
    const bool same = lines_match(a, b);

    free(a);
    free(b);
    return same;
}
