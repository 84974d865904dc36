/* The processes of the demo: a private Postgres, the embedded broker, the relay and the order
 * service. All lie in one temporary folder and end with this process, however it ends. */
#ifndef OUTBOXD_DEMO_SERVERS_H
#define OUTBOXD_DEMO_SERVERS_H

#include "postgres.h"

#define DATABASE "shop"

struct servers {
    char build[PATH_SIZE];  /* where outboxd, the mock broker and the order service were built */
    char dir[PATH_SIZE];    /* temporary: data, sockets, logs, configuration */
    char config[PATH_SIZE]; /* the relay's */
    char relay_log[PATH_SIZE];
    char service_log[PATH_SIZE]; /* what became of each event; see order_service.c */
    char brokers[256];
    struct postgres postgres;
    struct proc broker;
    struct proc relay;
    struct proc service;
};

/* All of these end the process with a clear message when a server does not start. */
void servers_init(struct servers *s);
/* Stops what runs, Postgres in order. Called at exit; harmless twice. */
void servers_stop(void);

/* Starts librdkafka's mock cluster in a process of its own and fills `brokers`. */
void mock_broker_start(struct servers *s, const char *topic, int partitions);

void migrate(struct servers *s, const char *log);
void relay_start(struct servers *s);
void service_start(struct servers *s, int workers, int pause_ms);

#endif
