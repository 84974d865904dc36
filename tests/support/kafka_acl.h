/* Who may do what in a cluster made with `secured`: clients that come through its second listener
 * log in by SASL/PLAIN and may do nothing that is not allowed here. Nodes and all of support/ come
 * through the first one and may do everything. */
#ifndef OUTBOXD_TESTS_KAFKA_ACL_H
#define OUTBOXD_TESTS_KAFKA_ACL_H

#include "kafka.h"

#include <librdkafka/rdkafka.h>

#define KAFKA_USER     "outboxd"
#define KAFKA_PASSWORD "Kafka-S3cret"

/* The line of server.properties that names a user and the password. */
#define KAFKA_USERS_FORMAT                                                                         \
    "listener.name.secured.plain.sasl.jaas.config="                                                \
    "org.apache.kafka.common.security.plain.PlainLoginModule required user_%s=\"%s\";\n"

/* One entry, in any cluster that has an authorizer; `type` and `name` say of what. */
void kafka_add_acl(const struct kafka *k, const char *user, rd_kafka_ResourceType_t type,
                   const char *name, rd_kafka_AclOperation_t operation,
                   rd_kafka_AclPermissionType_t permission);
/* KAFKA_USER may see the topic and write to it, or only see it, or neither any more. */
void kafka_allow_topic(const struct kafka *k, const char *topic);
void kafka_show_topic(const struct kafka *k, const char *topic);
void kafka_forbid_topic(const struct kafka *k, const char *topic);

/* The password by which KAFKA_USER logs in from now on: the nodes are started again with it. */
void kafka_set_password(struct kafka *k, const char *password);

#endif
