#include "inbox/params.h"

#include "inbox/fault.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define TOPIC_MAX  249 /* Kafka's limit */
#define DLT_SUFFIX ".dlt"
#define BATCH_MAX  100000

/* What an older program does not know is 0 here. */
static int copy_params(struct inbox_params *p, const struct inbox_params *given,
                       struct inbox_error *e)
{
    memset(p, 0, sizeof *p);
    if (given == NULL || given->size == 0)
        return fault_set(e, INBOX_E_ARGUMENT,
                         "params is NULL, or its member size is not sizeof(struct inbox_params)");
    if (given->size > sizeof *p)
        return fault_set(e, INBOX_E_ARGUMENT,
                         "params is larger than this version of the library knows: the header is "
                         "newer than the library");
    memcpy(p, given, given->size);
    p->size = sizeof *p;
    return 0;
}

static int take_number(int *value, int standard, int most, const char *name, struct inbox_error *e)
{
    if (*value < 0 || *value > most)
        return fault_set(e, INBOX_E_ARGUMENT, "%s is %d: from 0 (the default) to %d", name, *value,
                         most);
    if (*value == 0)
        *value = standard;
    return 0;
}

static int take_numbers(struct inbox_params *p, struct inbox_error *e)
{
    const int hour_ms = 3600000;

    if (take_number(&p->batch_size, 200, BATCH_MAX, "batch_size", e) != 0 ||
        take_number(&p->batch_ms, 0, 60000, "batch_ms", e) != 0 ||
        take_number(&p->max_attempts, 5, 1000000, "max_attempts", e) != 0 ||
        take_number(&p->backoff_ms, 100, hour_ms, "backoff_ms", e) != 0 ||
        take_number(&p->backoff_max_ms, 10000, hour_ms, "backoff_max_ms", e) != 0 ||
        take_number(&p->budget_ms, 60000, 24 * hour_ms, "budget_ms", e) != 0)
        return -1;
    if ((int)p->format < 0 || p->format > INBOX_FORMAT_CLOUDEVENTS)
        return fault_set(e, INBOX_E_ARGUMENT, "format is %d, which is none", (int)p->format);
    if (p->log_level == INBOX_LOG_DEFAULT)
        p->log_level = INBOX_LOG_INFO;
    return 0;
}

static bool is_topic_name(const char *name)
{
    const size_t len = strlen(name);

    return len > 0 && len <= TOPIC_MAX && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == len;
}

static int check_topic(const struct inbox_params *p, const char *topic, struct inbox_error *e)
{
    if (topic == NULL || topic[0] == '\0')
        return fault_set(e, INBOX_E_ARGUMENT, "a topic is NULL or empty");
    if (topic[0] == '^')
        return 0;
    if (!is_topic_name(topic))
        return fault_set(e, INBOX_E_ARGUMENT, "'%.300s' is no name of a topic", topic);
    if (p->dead_letter_topic == NULL && strlen(topic) + strlen(DLT_SUFFIX) > TOPIC_MAX)
        return fault_set(e, INBOX_E_ARGUMENT,
                         "topic %s is too long for a dead-letter topic '<topic>" DLT_SUFFIX
                         "': give dead_letter_topic",
                         topic);
    if (p->dead_letter_topic != NULL && strcmp(topic, p->dead_letter_topic) == 0)
        return fault_set(e, INBOX_E_ARGUMENT, "topic %s cannot be its own dead-letter topic",
                         topic);
    return 0;
}

static int check_params(const struct inbox_params *p, struct inbox_error *e)
{
    if (p->brokers == NULL || p->brokers[0] == '\0')
        return fault_set(e, INBOX_E_ARGUMENT, "brokers is missing");
    if (p->consumer == NULL || p->consumer[0] == '\0')
        return fault_set(e, INBOX_E_ARGUMENT, "consumer is missing");
    if (strlen(p->consumer) > INBOX_CONSUMER_MAX)
        return fault_set(e, INBOX_E_ARGUMENT, "consumer has %zu bytes; %d are allowed",
                         strlen(p->consumer), INBOX_CONSUMER_MAX);
    if (p->handler == NULL)
        return fault_set(e, INBOX_E_ARGUMENT, "handler is missing");
    if (p->topics == NULL || p->topic_count == 0)
        return fault_set(e, INBOX_E_ARGUMENT, "topics is missing or empty");
    if ((p->event_types == NULL) != (p->event_type_count == 0) ||
        (p->properties == NULL) != (p->property_count == 0))
        return fault_set(e, INBOX_E_ARGUMENT, "a list and its count do not go together");
    for (size_t i = 0; i < p->event_type_count; i++)
        if (p->event_types[i] == NULL)
            return fault_set(e, INBOX_E_ARGUMENT, "an event type is NULL");
    for (size_t i = 0; i < p->property_count; i++)
        if (p->properties[i].name == NULL || p->properties[i].value == NULL)
            return fault_set(e, INBOX_E_ARGUMENT, "a property has no name or no value");
    if (p->dead_letter_topic != NULL && !is_topic_name(p->dead_letter_topic))
        return fault_set(e, INBOX_E_ARGUMENT, "'%.300s' is no name of a topic",
                         p->dead_letter_topic);
    for (size_t i = 0; i < p->topic_count; i++)
        if (check_topic(p, p->topics[i], e) != 0)
            return -1;
    return 0;
}

/* libpq's own text would show the string, and with it the password. */
static int check_conninfo(const char *conninfo, struct inbox_error *e)
{
    PQconninfoOption *parsed =
        conninfo == NULL || conninfo[0] == '\0' ? NULL : PQconninfoParse(conninfo, NULL);

    if (parsed == NULL && conninfo != NULL && conninfo[0] != '\0')
        return fault_set(e, INBOX_E_CONFIG,
                         "conninfo cannot be understood: postgres://role@host:port/database, or "
                         "key=value pairs");
    PQconninfoFree(parsed);
    return 0;
}

static const char *copy(const char *text)
{
    return text == NULL ? NULL : xstrdup(text);
}

static const char *const *copy_list(const char *const *list, size_t count)
{
    const char **all = xcalloc(count, sizeof(char *));

    for (size_t i = 0; i < count; i++)
        all[i] = copy(list[i]);
    return all;
}

/* The properties are used up in inbox_new, and may hold secrets: not copied. */
void params_own(struct inbox_params *p)
{
    p->brokers = NULL;
    p->consumer = copy(p->consumer);
    p->topics = copy_list(p->topics, p->topic_count);
    p->conninfo = p->conninfo == NULL || p->conninfo[0] == '\0' ? NULL : copy(p->conninfo);
    p->event_types = copy_list(p->event_types, p->event_type_count);
    p->dead_letter_topic = copy(p->dead_letter_topic);
    p->properties = NULL;
    p->property_count = 0;
}

static void drop(const void *text)
{
    free((void *)(uintptr_t)text);
}

void params_disown(struct inbox_params *p)
{
    for (size_t i = 0; i < p->topic_count; i++)
        drop(p->topics[i]);
    for (size_t i = 0; i < p->event_type_count; i++)
        drop(p->event_types[i]);
    drop(p->topics);
    drop(p->event_types);
    drop(p->consumer);
    drop(p->conninfo);
    drop(p->dead_letter_topic);
}

int params_take(struct inbox_params *p, const struct inbox_params *given, struct inbox_error *e)
{
    if (copy_params(p, given, e) != 0 || check_params(p, e) != 0 || take_numbers(p, e) != 0 ||
        check_conninfo(p->conninfo, e) != 0)
        return -1;
    return 0;
}
