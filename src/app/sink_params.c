#include "app/sink_params.h"

#include "base/str.h"

struct kafka_pair *sink_params_of(const struct settings *s, struct kafka_sink_params *out)
{
    struct kafka_pair *pairs = xcalloc(s->kafka.property_count, sizeof pairs[0]);

    for (size_t i = 0; i < s->kafka.property_count; i++)
        pairs[i] = (struct kafka_pair){.name = s->kafka.properties[i].name,
                                       .value = s->kafka.properties[i].value};
    *out = (struct kafka_sink_params){
        .brokers = s->kafka.brokers,
        .client_id = s->relay.name,
        .properties = pairs,
        .property_count = s->kafka.property_count,
        .window_events = s->relay.window_events,
        .window_bytes = s->relay.window_bytes,
        .max_event_bytes = s->relay.max_event_bytes,
    };
    return pairs;
}
