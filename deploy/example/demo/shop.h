/* The processes of the demo: Postgres with a database for each service, Kafka, the services and
 * the relays beside those that publish. All lie in one temporary folder and end with this process,
 * however it ends. A server that does not start, and a part that ends by itself, end the demo with
 * the end of their log. */
#ifndef OUTBOXD_EXAMPLE_SHOP_H
#define OUTBOXD_EXAMPLE_SHOP_H

#include "../../../tests/support/kafka.h"
#include "../../demo/postgres.h"

#include <stdbool.h>
#include <stdint.h>

enum { SHOP_PARTITIONS = 6, SHOP_TYPES_MAX = 4 };

/* enum TOPIC_<name>, its name */
#define TOPICS_(X)                                                                                 \
    X(ORDER, "order-events")                                                                       \
    X(INVENTORY, "inventory-events")                                                               \
    X(PAYMENT, "payment-events")

enum topic {
#define TOPIC_(name, text) TOPIC_##name,
    TOPICS_(TOPIC_)
#undef TOPIC_
        TOPICS
};

extern const char *const topic_names[TOPICS];

/* The first ones publish, each to the topic of the same number, and have a relay. The last one is
 * the read model, which joins when the others have worked for a while. */
enum service {
    SERVICE_ORDER,
    SERVICE_INVENTORY,
    SERVICE_PAYMENT,
    SERVICE_NOTIFICATION,
    SERVICE_SALES,
    SERVICES
};

enum { RELAYS = SERVICE_NOTIFICATION, PARTS = SERVICES + RELAYS };

struct service_facts {
    const char *name; /* of the program, its consumer group and its relay */
    const char *database;
    const char *role;
    bool reads[TOPICS];
    const char *takes[SHOP_TYPES_MAX + 1]; /* the event types that it asks for, then NULL */
};

extern const struct service_facts services[SERVICES];

/* A service or a relay. */
struct part {
    const char *name; /* "payment", "payment's relay" */
    struct proc proc;
    char log[PATH_SIZE];
    uint64_t start_ms; /* test_now_ms() of its latest start */
    uint64_t end_ms;   /* when it was told to end, or killed */
    bool ends;         /* it was, since its latest start */
    uint64_t back_ms;  /* when it starts again; 0: it is not to */
    int kills;
    int stops;
};

struct shop {
    char dir[PATH_SIZE];
    struct postgres postgres;
    struct kafka kafka; /* not used with brokers of the user's */
    char brokers[256];
    int http_port;           /* of the order service */
    struct part part[PARTS]; /* the services, then the relays */
};

void shop_init(struct shop *s);
/* Stops what runs, Postgres in order. Called at exit; harmless twice. */
void shop_stop(void);

/* Each database with its schemas: outbox, inbox, the service's own. */
void shop_migrate(const struct shop *s);
void shop_write_config(struct shop *s);
const char *shop_config(const struct shop *s, enum service relay); /* good until the next call */

/* Folds the orders' events, from "table" or "topic", and holds them against the order service's
 * table: the exit code of the example's program rebuild. */
int shop_rebuild(const struct shop *s, const char *from);

void shop_start_part(struct shop *s, int part);
bool shop_part_started(const struct shop *s, int part); /* at any time */
/* SIGKILL or SIGTERM; it comes back after away_ms, or not by itself when that is 0. It must run. */
void shop_end_part(struct shop *s, int part, int signal, uint32_t away_ms);
bool shop_part_runs(struct shop *s, int part);
/* Starts again what is due, and returns the part that it started, or -1. */
int shop_turn(struct shop *s);
/* Everything ends as it should: SIGTERM, exit code 0. */
void shop_end(struct shop *s);

#endif
