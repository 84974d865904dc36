/* What the services of the example share: the environment, the consumer, the loop, log lines.
 *
 *   DATABASE_URL       the service's own database, as libpq takes it (required)
 *   KAFKA_BROKERS      host:port, separated by commas (required)
 *   KAFKA_PROPERTIES   more for librdkafka: name=value, separated by blanks
 *   LOG_LEVEL          debug, info (default), warn or error
 *
 * Log lines go to stderr. SIGTERM and SIGINT end a service in order, the second one at once. Exit
 * codes follow sysexits.h: 0 after a signal, 64 for a wrong environment, 78 when going on needs a
 * person (schema, grants, a refusal of Kafka). Servers that are away are waited for. */
#ifndef EXAMPLE_SERVICE_H
#define EXAMPLE_SERVICE_H

#include <inbox.h>
#include <stddef.h>
#include <stdint.h>

enum { SERVICE_USAGE = 64, SERVICE_UNAVAILABLE = 69, SERVICE_CONFIG = 78 };

/* Writes the effects of one event by `conn`, whose transaction holds the claim; `payload` is its
 * JSON text. All of inbox_handler_fn's contract holds. */
typedef enum inbox_verdict service_handler_fn(PGconn *conn, struct inbox_event *event,
                                              const char *payload);

struct service_handler {
    const char *event_type;
    service_handler_fn *handle;
};

/* All of it must live as long as the service. Both lists end with NULL. */
struct service_params {
    const char *name; /* of the service: its consumer group, and the name under which it claims */
    const char *const *topics;
    const struct service_handler *handlers; /* other events are not for this service */
    int accept_old; /* 1: events that are older than what the inbox remembers, too */
};

struct service {
    const struct service_params *params;
    struct inbox *inbox;
    struct inbox_counters told;
    int64_t told_ms;
};

/* Reads the environment, opens the consumer, handles the signals. 0, or an exit code after a line
 * on stderr. */
int service_init(struct service *s, const struct service_params *params);
/* Frees it; tells what was done. */
void service_release(struct service *s);

/* For a loop of one's own: when inbox_fd(s->inbox) can be read. 0: go on; 1: it has stopped after a
 * signal; -1: it needs a person, the reason is told. */
int service_turn(struct service *s);
/* Tells what was done so far, if that has changed; at most once a second. */
void service_tell(struct service *s);

/* All of the above until a signal: the exit code of main. */
int service_run(const struct service_params *params);

/* ---- for handlers ---------------------------------------------------------------------------- */

/* Runs a statement that takes the payload as $1. NULL: it failed; *verdict and the event's
 * explanation say how it goes on. The caller clears the result. */
PGresult *service_query(PGconn *conn, struct inbox_event *event, const char *sql,
                        const char *payload, enum inbox_verdict *verdict);
/* The same for a statement without a result. */
enum inbox_verdict service_exec(PGconn *conn, struct inbox_event *event, const char *sql,
                                const char *payload);
/* Publishes in the handler's transaction. */
enum inbox_verdict service_publish(PGconn *conn, struct inbox_event *event,
                                   const struct inbox_message *message);

/* ---- other ----------------------------------------------------------------------------------- */

/* The value; NULL after a line on stderr when it is not set. */
const char *service_env(const char *name);
/* One line on stderr, unless LOG_LEVEL leaves it out; `fmt` makes msg=... and more such pairs. */
void service_log(enum inbox_log_level level, const char *service, const char *fmt, ...)
    INBOX_PRINTF_LIKE(3, 4);

#endif
