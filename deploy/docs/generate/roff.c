#include "roff.h"

#include <string.h>

static void put_escaped(struct str *out, char c)
{
    switch (c) {
    case '\\':
        str_puts(out, "\\e");
        break;
    case '-':
        str_puts(out, "\\-");
        break;
    case '\'':
        str_puts(out, "\\(aq");
        break;
    case '"':
        str_puts(out, "\\(dq");
        break;
    case '~':
        str_puts(out, "\\(ti");
        break;
    case '^':
        str_puts(out, "\\(ha");
        break;
    default:
        str_put_char(out, c);
    }
}

static void put_plain(struct str *out, struct slice text)
{
    if (text.len > 0 && text.ptr[0] == '.')
        str_puts(out, "\\&");
    for (size_t i = 0; i < text.len; i++)
        put_escaped(out, text.ptr[i]);
}

void roff_line(struct str *out, struct slice text)
{
    bool bold = false;

    if (text.len > 0 && text.ptr[0] == '.')
        str_puts(out, "\\&");
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '`') {
            bold = !bold;
            str_puts(out, bold ? "\\fB" : "\\fR");
        } else {
            put_escaped(out, text.ptr[i]);
        }
    }
    str_puts(out, bold ? "\\fR" : "");
}

void roff_bold(struct str *out, const char *text)
{
    str_puts(out, "\\fB");
    put_plain(out, slice_of(text));
    str_puts(out, "\\fR");
}

/* Where a line of the text stands. */
enum place { PLACE_PARAGRAPH, PLACE_VERBATIM, PLACE_LIST };

struct text_state {
    enum place place;
    bool gap; /* a blank line went before */
};

static void leave(struct str *out, const char *paragraph, struct text_state *st, enum place next)
{
    if (st->place == PLACE_VERBATIM && next != PLACE_VERBATIM)
        str_puts(out, ".EE\n.RE\n");
    if (st->place == PLACE_LIST && next == PLACE_PARAGRAPH)
        st->gap = true; /* a paragraph ends the list */
    if (next == PLACE_VERBATIM && st->place != PLACE_VERBATIM)
        str_puts(out, strcmp(paragraph, ".IP") == 0 ? ".RS 9\n.EX\n" : ".RS 4\n.EX\n");
    st->place = next;
}

static void put_text_line(struct str *out, struct slice line, const char *paragraph,
                          struct text_state *st)
{
    bool indented = line.len > 2 && line.ptr[0] == ' ' && line.ptr[1] == ' ';
    bool item = line.len > 2 && line.ptr[0] == '-' && line.ptr[1] == ' ';

    if (indented && st->place != PLACE_LIST) {
        if (st->gap && st->place != PLACE_VERBATIM)
            str_printf(out, "%s\n", paragraph);
        leave(out, paragraph, st, PLACE_VERBATIM);
        put_plain(out, (struct slice){line.ptr + 2, line.len - 2});
    } else if (item) {
        leave(out, paragraph, st, PLACE_LIST);
        str_puts(out, ".IP \\(bu 2\n");
        roff_line(out, (struct slice){line.ptr + 2, line.len - 2});
    } else {
        size_t skip = indented ? 2 : 0; /* an item goes on */

        leave(out, paragraph, st, indented ? PLACE_LIST : PLACE_PARAGRAPH);
        if (st->gap)
            str_printf(out, "%s\n", paragraph);
        roff_line(out, (struct slice){line.ptr + skip, line.len - skip});
    }
    st->gap = false;
    str_put_char(out, '\n');
}

void roff_text(struct str *out, struct slice text, const char *paragraph)
{
    struct text_state st = {.place = PLACE_PARAGRAPH};
    const char *at = text.ptr;
    const char *end = text.ptr + text.len;

    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        struct slice line = {at, (size_t)((stop == NULL ? end : stop) - at)};

        if (line.len == 0)
            st.gap = true;
        else
            put_text_line(out, line, paragraph, &st);
        at = line.ptr + line.len + 1;
    }
    leave(out, paragraph, &st, PLACE_PARAGRAPH);
}
