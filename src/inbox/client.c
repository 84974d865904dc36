#include "inbox/client.h"

#include "inbox/fault.h"

#include <string.h>
#include <strings.h>

struct rule {
    const char *name;
    const char *refused; /* a value that holds this is refused; "": any value is */
    const char *why;
};

static const char OFFSETS[] =
    "offsets are committed when the effects are, and by nobody else: leave it out";
static const char EAGER[] =
    "partitions must be given up all at once, between two batches: use range or roundrobin";
static const char PARAMETER[] = "inbox_params has a member for it: leave it out";

static const struct rule RULES[] = {
    {"enable.auto.commit", "t", OFFSETS},
    {"enable.auto.commit", "1", OFFSETS},
    {"auto.commit.enable", "t", OFFSETS},
    {"auto.commit.enable", "1", OFFSETS},
    {"enable.auto.offset.store", "t", OFFSETS},
    {"enable.auto.offset.store", "1", OFFSETS},
    {"partition.assignment.strategy", "cooperative", EAGER},
    {"group.protocol", "consumer", EAGER},
    {"group.id", "", PARAMETER},
    {"bootstrap.servers", "", PARAMETER},
    {"metadata.broker.list", "", PARAMETER},
    {"log.queue", "", "the library takes the log lines itself: leave it out"},
    {"enabled_events", "", "the library takes the events itself: leave it out"},
    {"test.mock.num.brokers", "", "events of a broker in memory are nobody's: leave it out"},
};

/* Before the application's properties, so that an allowed one wins. */
static const struct inbox_property OURS[] = {
    {"auto.offset.reset", "earliest"}, /* a new group begins with what the topic still has */
    {"partition.assignment.strategy", "range,roundrobin"},
    {"enable.auto.commit", "false"},
    {"enable.auto.offset.store", "false"},
    {"log.queue", "true"},
    {"socket.keepalive.enable", "true"},
    {"socket.timeout.ms", "10000"},
    {"reconnect.backoff.max.ms", "2000"},
    {"topic.metadata.refresh.interval.ms", "10000"}, /* a topic that comes into being is noticed */
    {"queued.max.messages.kbytes", "16384"},         /* read ahead; the default is 64 MiB */
};

static bool holds(const char *value, const char *part)
{
    const size_t len = strlen(part);

    for (; *value != '\0'; value++)
        if (strncasecmp(value, part, len) == 0)
            return true;
    return len == 0;
}

static int check_rules(const struct inbox_property *p, struct inbox_error *e)
{
    for (size_t i = 0; i < ARRAY_LEN(RULES); i++)
        if (strcmp(RULES[i].name, p->name) == 0 && holds(p->value, RULES[i].refused))
            return fault_set(e, INBOX_E_CONFIG, "property %s may not be '%s': %s", p->name,
                             p->value, RULES[i].why);
    return 0;
}

static int set(rd_kafka_conf_t *conf, const char *name, const char *value, struct inbox_error *e)
{
    char text[256] = "";

    if (rd_kafka_conf_set(conf, name, value, text, sizeof text) == RD_KAFKA_CONF_OK)
        return 0;
    return fault_set(e, INBOX_E_CONFIG, "property %s: %s", name, text);
}

rd_kafka_conf_t *client_conf_new(const struct inbox_params *params, struct inbox_error *e)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();

    if (set(conf, "bootstrap.servers", params->brokers, e) != 0 ||
        set(conf, "group.id", params->consumer, e) != 0 ||
        set(conf, "client.id", params->consumer, e) != 0)
        goto fail;
    for (size_t i = 0; i < ARRAY_LEN(OURS); i++)
        if (set(conf, OURS[i].name, OURS[i].value, e) != 0)
            goto fail;
    for (size_t i = 0; i < params->property_count; i++)
        if (check_rules(&params->properties[i], e) != 0 ||
            set(conf, params->properties[i].name, params->properties[i].value, e) != 0)
            goto fail;
    return conf;
fail:
    rd_kafka_conf_destroy(conf);
    return NULL;
}
