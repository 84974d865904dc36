/* Topic names: what Kafka allows, what kafka.topics allows, and what a template of a route becomes.
 */
#include "message/route.h"

#include <string.h>

#define TOPIC_MAX_BYTES 249

static const char legal_topic[] = "1 to 249 of a-z A-Z 0-9 . _ -, and neither \".\" nor \"..\"";

/* The start of the next UTF-8 character; bytes that are no UTF-8 count as one character each. */
static size_t next_char(struct slice text, size_t i)
{
    i++;
    while (i < text.len && ((unsigned char)text.ptr[i] & 0xc0) == 0x80)
        i++;
    return i;
}

/* Only the last '*' ever needs another try, with one more character: what the stars before it took
 * never matters. So the time is at most pattern times text, and never exponential. */
bool pattern_matches(const char *pattern, struct slice text)
{
    const char *after_star = NULL;
    size_t star_from = 0;
    size_t i = 0;

    while (i < text.len) {
        if (*pattern == '*') {
            after_star = ++pattern;
            star_from = i;
        } else if (*pattern == '?') {
            pattern++;
            i = next_char(text, i);
        } else if (*pattern != '\0' && *pattern == text.ptr[i]) {
            pattern++;
            i++;
        } else if (after_star != NULL) {
            pattern = after_star;
            star_from = next_char(text, star_from);
            i = star_from;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0';
}

static bool is_topic_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
}

bool topic_name_is_legal(struct slice name)
{
    if (name.len == 0 || name.len > TOPIC_MAX_BYTES)
        return false;
    for (size_t i = 0; i < name.len; i++)
        if (!is_topic_char(name.ptr[i]))
            return false;
    return !slice_is(name, ".") && !slice_is(name, "..");
}

const char *route_fixed_topic(const struct route *r)
{
    return r->topic != NULL && strchr(r->topic, '{') == NULL ? r->topic : NULL;
}

bool route_topic_allowed(const struct route_table *t, struct slice topic)
{
    for (size_t i = 0; i < t->topic_count; i++)
        if (pattern_matches(t->topics[i], topic))
            return true;
    return t->topic_count == 0;
}

static bool skip_word(const char **p, const char *word)
{
    size_t len = strlen(word);

    if (strncmp(*p, word, len) != 0)
        return false;
    *p += len;
    return true;
}

void topic_expand(struct str *out, const char *template, struct slice aggregate_type,
                  struct slice event_type)
{
    while (*template != '\0') {
        size_t plain = strcspn(template, "{");

        str_put(out, template, plain);
        template += plain;
        if (skip_word(&template, "{aggregate_type}"))
            str_put_slice(out, aggregate_type);
        else if (skip_word(&template, "{event_type}"))
            str_put_slice(out, event_type);
        else if (*template != '\0')
            str_put_char(out, *template ++);
    }
}

int topic_template_check(const char *template, struct err *err)
{
    struct str sample = {0};
    int rc = 0;

    topic_expand(&sample, template, SLICE_LIT("a"), SLICE_LIT("e"));
    if (strpbrk(str_text(&sample), "{}") != NULL)
        rc = err_set(err, ERR_CONFIG,
                     "\"%s\" has a brace that is no placeholder; known are {aggregate_type} and "
                     "{event_type}",
                     template);
    else if (!topic_name_is_legal(str_slice(&sample)))
        rc = err_set(err, ERR_CONFIG, "\"%s\" is no legal topic name (%s)", template, legal_topic);
    str_release(&sample);
    return rc;
}

/* What a person may see of a name that is not legal: printable, and short. */
static const char *shown(struct slice name, char out[84])
{
    size_t len = name.len < 80 ? name.len : 80;

    for (size_t i = 0; i < len; i++)
        out[i] = (name.ptr[i] >= ' ' && name.ptr[i] <= '~') ? name.ptr[i] : '?';
    memcpy(out + len, name.len > len ? "..." : "", name.len > len ? 4 : 1);
    return out;
}

int route_topic_check(const struct route_table *t, size_t route, const struct event *e,
                      struct slice topic, struct err *err)
{
    const struct route *r = &t->routes[route];
    char name[84];

    if (!topic_name_is_legal(topic)) {
        if (e->topic.ptr != NULL)
            return err_set(err, ERR_CONFIG,
                           "topic \"%s\" in the row's column topic is no legal name (%s): give it "
                           "up and publish it anew",
                           shown(topic, name), legal_topic);
        if (r->topic != NULL)
            return err_set(err, ERR_CONFIG,
                           "topic \"%s\" of route \"%s\" is no legal name (%s): correct the "
                           "route's topic \"%s\", or give the event up and publish it anew",
                           shown(topic, name), r->name, legal_topic, r->topic);
        return err_set(err, ERR_CONFIG,
                       "topic \"%s\" is no legal name (%s): give a route with a topic to this "
                       "aggregate_type",
                       shown(topic, name), legal_topic);
    }
    if (!route_topic_allowed(t, topic))
        return err_set(
            err, ERR_CONFIG, "topic \"%s\" is not among kafka.topics: add it there, or %s",
            shown(topic, name),
            e->topic.ptr != NULL ? "give the event up and publish it anew" : "correct the routes");
    return 0;
}
