/* A private, real Kafka: one or more combined broker and controller nodes in KRaft mode, from the
 * jars that Maven brought (tests/pom.xml). Their absence fails the test. Topics are not created by
 * use: kafka_create_topic. */
#ifndef OUTBOXD_TESTS_KAFKA_H
#define OUTBOXD_TESTS_KAFKA_H

#include "proc.h"
#include "proxy.h"

#include <stdbool.h>
#include <stdint.h>

#define KAFKA_MAX_NODES 3

struct kafka_params {
    int nodes; /* 0: one. With three, topics of kafka_create_topic have three replicas */
    const char *const
        *settings; /* NULL or NULL-terminated "name=value" lines of server.properties, after ours */
    int heap_mib;  /* 0: 400 */
    bool warms_up; /* as brokers run: compiled in full; else what starts soonest */
    /* One more process does the controllers' work alone, so that it goes on with most brokers dead.
     * Else every node is a controller too, and most of them must live. */
    bool own_controller;
    bool proxied; /* a second listener for clients that come through kafka_proxy() */
    bool secured; /* one for clients that must log in, see kafka_acl.h; everybody else may do all */
};

struct kafka_node {
    struct proc proc;
    char dir[PATH_SIZE];
    char log[PATH_SIZE]; /* what the node writes, for people */
    int port;
    int controller_port;
    int secured_port;    /* 0: not secured */
    struct proxy *proxy; /* NULL: not proxied */
};

struct kafka {
    int nodes;     /* brokers */
    int processes; /* nodes, and the controller behind them if it has a process of its own */
    int heap_mib;
    bool warms_up;
    struct kafka_node node[KAFKA_MAX_NODES + 1];
    char brokers[128]; /* bootstrap addresses of all nodes */
    char proxied[128]; /* the same through the proxies */
    char secured[128]; /* the same by the listeners that ask for a password */
};

/* Formats, starts, and returns when every node answers as a broker (about 5 s). `params` may be
 * NULL. */
void kafka_create(struct kafka *k, const struct kafka_params *params);
void kafka_drop(struct kafka *k); /* ends it and removes its folders; harmless twice */
const char *kafka_brokers(const struct kafka *k);
/* Of a cluster made with `proxied`: the addresses for clients that shall suffer (nodes among
 * themselves and all of support/ use the direct ones), and the proxy before a node. */
const char *kafka_proxied_brokers(const struct kafka *k);
struct proxy *kafka_proxy(const struct kafka *k, int node);
const char *kafka_secured_brokers(const struct kafka *k);

/* Nodes count from 0. All of these keep port and data. */
void kafka_stop(struct kafka *k, int node); /* SIGTERM: controlled shutdown */
void kafka_kill9(struct kafka *k, int node);
void kafka_start(struct kafka *k, int node); /* after a stop or kill; waits until it answers */
void kafka_start_nowait(struct kafka *k, int node);
void kafka_pause(struct kafka *k, int node); /* SIGSTOP: connections stay open, nothing answers */
void kafka_continue(struct kafka *k, int node);
void kafka_wait_ready(const struct kafka *k, int brokers,
                      int timeout_ms); /* that many brokers are registered */

/* `config` is NULL or NULL-terminated name, value, name, value... Returns when every partition has
 * a leader. */
void kafka_create_topic(const struct kafka *k, const char *name, int partitions,
                        const char *const *config);
void kafka_delete_topic(const struct kafka *k,
                        const char *name); /* returns when it is gone from the metadata */
/* Sets one, and puts every other setting of the topic back to its default. */
void kafka_set_topic_config(const struct kafka *k, const char *name, const char *key,
                            const char *value);
void kafka_grow_topic(const struct kafka *k, const char *name, int partitions);

/* Wait until every partition has that many replicas in sync; until each is led by its first replica
 * (brokers see to that by themselves, see leader.imbalance.check.interval.seconds). */
void kafka_wait_in_sync(const struct kafka *k, const char *topic, int replicas, int timeout_ms);
void kafka_wait_preferred(const struct kafka *k, const char *topic, int timeout_ms);

/* How many partitions the topic has; 0: there is no such topic, -1: nobody answers. */
int kafka_partitions(const char *brokers, const char *topic);
/* The sum of the partitions' log ends, which is the number of records ever written to the topic
 * while nobody uses transactions; -1: nobody answers or there is no such topic. */
int64_t kafka_record_count(const char *brokers, const char *topic);
/* One partition's log end; -1: nobody answers or there is no such partition. */
int64_t kafka_partition_end(const char *brokers, const char *topic, int partition);

#endif
