#include "kafka_acl.h"

#include "kafka_admin.h"

#include <stdio.h>
#include <string.h>

#define ANSWER_MS 20000

static rd_kafka_event_t *await(rd_kafka_queue_t *answers, const char *what)
{
    rd_kafka_event_t *ev = rd_kafka_queue_poll(answers, ANSWER_MS);

    if (ev == NULL)
        support_fail("%s: no answer", what);
    if (rd_kafka_event_error(ev) != RD_KAFKA_RESP_ERR_NO_ERROR)
        support_fail("%s: %s", what, rd_kafka_event_error_string(ev));
    return ev;
}

static void allow(struct kafka_client *c, const char *topic, rd_kafka_AclOperation_t operation)
{
    char text[256];
    size_t n = 0;
    rd_kafka_queue_t *answers = rd_kafka_queue_new(c->rk);
    rd_kafka_AclBinding_t *acl = rd_kafka_AclBinding_new(
        RD_KAFKA_RESOURCE_TOPIC, topic, RD_KAFKA_RESOURCE_PATTERN_LITERAL, "User:" KAFKA_USER, "*",
        operation, RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW, text, sizeof text);
    const rd_kafka_acl_result_t **all;
    rd_kafka_event_t *ev;

    if (acl == NULL)
        support_fail("allow %s: %s", topic, text);
    rd_kafka_CreateAcls(c->rk, &acl, 1, NULL, answers);
    ev = await(answers, "create acls");
    all = rd_kafka_CreateAcls_result_acls(rd_kafka_event_CreateAcls_result(ev), &n);
    if (n != 1 || rd_kafka_acl_result_error(all[0]) != NULL)
        support_fail("allow %s: refused", topic);
    rd_kafka_event_destroy(ev);
    rd_kafka_AclBinding_destroy(acl);
    rd_kafka_queue_destroy(answers);
}

void kafka_allow_topic(const struct kafka *k, const char *topic)
{
    struct kafka_client c;

    kafka_client_open(&c, kafka_brokers(k));
    allow(&c, topic, RD_KAFKA_ACL_OPERATION_WRITE);
    allow(&c, topic, RD_KAFKA_ACL_OPERATION_DESCRIBE);
    kafka_client_close(&c);
}

void kafka_show_topic(const struct kafka *k, const char *topic)
{
    struct kafka_client c;

    kafka_client_open(&c, kafka_brokers(k));
    allow(&c, topic, RD_KAFKA_ACL_OPERATION_DESCRIBE);
    kafka_client_close(&c);
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
    rd_kafka_event_destroy(await(answers, "delete acls"));
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
