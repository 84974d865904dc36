#include "kafka_acl.h"

#include "kafka_admin.h"

#include <stdio.h>

void kafka_add_acl(const struct kafka *k, const char *user, rd_kafka_ResourceType_t type,
                   const char *name, rd_kafka_AclOperation_t operation,
                   rd_kafka_AclPermissionType_t permission)
{
    struct kafka_client c;
    char text[256];
    char principal[128];
    rd_kafka_queue_t *answers;
    rd_kafka_AclBinding_t *acl;

    (void)snprintf(principal, sizeof principal, "User:%s", user);
    acl = rd_kafka_AclBinding_new(type, name, RD_KAFKA_RESOURCE_PATTERN_LITERAL, principal, "*",
                                  operation, permission, text, sizeof text);
    if (acl == NULL)
        support_fail("acl of %s: %s", name, text);
    kafka_client_open(&c, kafka_brokers(k));
    answers = rd_kafka_queue_new(c.rk);
    rd_kafka_CreateAcls(c.rk, &acl, 1, NULL, answers);
    kafka_client_await(answers, "create acl");
    rd_kafka_AclBinding_destroy(acl);
    rd_kafka_queue_destroy(answers);
    kafka_client_close(&c);
}

static void allow(const struct kafka *k, const char *topic, rd_kafka_AclOperation_t operation)
{
    kafka_add_acl(k, KAFKA_USER, RD_KAFKA_RESOURCE_TOPIC, topic, operation,
                  RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW);
}

void kafka_allow_topic(const struct kafka *k, const char *topic)
{
    allow(k, topic, RD_KAFKA_ACL_OPERATION_WRITE);
    allow(k, topic, RD_KAFKA_ACL_OPERATION_DESCRIBE);
}

void kafka_show_topic(const struct kafka *k, const char *topic)
{
    allow(k, topic, RD_KAFKA_ACL_OPERATION_DESCRIBE);
}

void kafka_forbid_topic(const struct kafka *k, const char *topic)
{
    struct kafka_client c;
    char text[256];
    rd_kafka_queue_t *answers;
    rd_kafka_AclBindingFilter_t *filter = rd_kafka_AclBindingFilter_new(
        RD_KAFKA_RESOURCE_TOPIC, topic, RD_KAFKA_RESOURCE_PATTERN_LITERAL, "User:" KAFKA_USER, NULL,
        RD_KAFKA_ACL_OPERATION_ANY, RD_KAFKA_ACL_PERMISSION_TYPE_ANY, text, sizeof text);

    if (filter == NULL)
        support_fail("forbid %s: %s", topic, text);
    kafka_client_open(&c, kafka_brokers(k));
    answers = rd_kafka_queue_new(c.rk);
    rd_kafka_DeleteAcls(c.rk, &filter, 1, NULL, answers);
    kafka_client_await(answers, "delete acls");
    rd_kafka_AclBinding_destroy(filter);
    rd_kafka_queue_destroy(answers);
    kafka_client_close(&c);
}

void kafka_set_password(struct kafka *k, const char *password)
{
    char path[PATH_SIZE];
    FILE *f;

    for (int i = 0; i < k->nodes; i++) {
        path_join(path, k->node[i].dir, "server.properties");
        f = fopen(path, "ae");
        /* the last line of a name counts */
        if (f == NULL || fprintf(f, KAFKA_USERS_FORMAT, KAFKA_USER, password) < 0 || fclose(f) != 0)
            support_fail("write %s", path);
        kafka_stop(k, i);
        kafka_start(k, i);
    }
}
