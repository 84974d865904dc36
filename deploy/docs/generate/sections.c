#include "generate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int read_whole(const char *path, char **content, struct err *err)
{
    FILE *in = fopen(path, "re");
    struct str text = {0};
    char piece[4096];
    size_t got;

    if (in == NULL)
        return err_set(err, ERR_CONFIG, "%s: %s; run this at the root of the sources", path,
                       strerror(errno));
    while ((got = fread(piece, 1, sizeof piece, in)) > 0)
        str_put(&text, piece, got);
    (void)fclose(in);
    *content = xstrdup(str_text(&text));
    str_release(&text);
    return 0;
}

static struct slice without_blank_lines(struct slice s)
{
    while (s.len > 0 && s.ptr[0] == '\n') {
        s.ptr++;
        s.len--;
    }
    while (s.len > 0 && s.ptr[s.len - 1] == '\n')
        s.len--;
    return s;
}

static int add_section(struct sections *s, const char *line, size_t len, struct err *err)
{
    struct section *at;

    if (s->count == SECTIONS_MAX)
        return err_set(err, ERR_SOFTWARE, "%s: raise SECTIONS_MAX", s->path);
    at = &s->at[s->count++];
    *at = (struct section){.text = {line + len + 1, 0}};
    (void)snprintf(at->word, sizeof at->word, "%.*s", (int)len - 2, line + 2);
    return 0;
}

int sections_load(struct sections *s, const char *path, struct err *err)
{
    const char *line;

    *s = (struct sections){.path = path};
    if (read_whole(path, &s->content, err) != 0)
        return -1;
    line = s->content;
    while (*line != '\0') {
        size_t len = strcspn(line, "\n");

        if (strncmp(line, "= ", 2) == 0) {
            if (add_section(s, line, len, err) != 0)
                return -1;
        } else if (s->count > 0) {
            s->at[s->count - 1].text.len = (size_t)(line + len - s->at[s->count - 1].text.ptr);
        } else if (len > 0 && line[0] != '#') {
            return err_set(err, ERR_CONFIG, "%s: text before the first \"= word\"", path);
        }
        line += len + (line[len] == '\n');
    }
    for (size_t i = 0; i < s->count; i++)
        s->at[i].text = without_blank_lines(s->at[i].text);
    return 0;
}

void sections_release(struct sections *s)
{
    free(s->content);
    *s = (struct sections){0};
}

const struct section *sections_take(struct sections *s, const char *word, struct err *err)
{
    for (size_t i = 0; i < s->count; i++)
        if (strcmp(s->at[i].word, word) == 0 && s->at[i].text.len > 0) {
            s->at[i].taken = true;
            return &s->at[i];
        }
    (void)err_set(err, ERR_CONFIG, "%s has no text for \"%s\"", s->path, word);
    return NULL;
}

int sections_all_taken(const struct sections *s, struct err *err)
{
    for (size_t i = 0; i < s->count; i++)
        if (!s->at[i].taken)
            return err_set(err, ERR_CONFIG, "%s has a text for \"%s\", which does not exist",
                           s->path, s->at[i].word);
    return 0;
}
