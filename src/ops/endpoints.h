/* What is served: /metrics, /livez, /readyz, /status and an index, over ops/http. Whoever asks
 * costs one picture of the process (struct ops_view), and no question to any server. */
#ifndef OUTBOXD_OPS_ENDPOINTS_H
#define OUTBOXD_OPS_ENDPOINTS_H

#include "base/address.h"
#include "ops/view.h"

struct endpoints;
struct event_base;

#define OPS_LIVE_PATH    "/livez"
#define OPS_READY_PATH   "/readyz"
#define OPS_METRICS_PATH "/metrics"
#define OPS_STATUS_PATH  "/status"

/* In every answer: the relay's name. Two processes may be told the same address. */
#define OPS_RELAY_HEADER "Outboxd-Relay"

struct endpoints_params {
    struct event_base *base;
    const char *listen; /* http.listen, not empty */
    const char *relay;  /* lent */
    void *ctx;
    /* Fills the picture; what it points to must last until the loop goes on. */
    void (*look)(void *ctx, struct ops_view *out);
};

/* Begins to listen. An address that cannot be had is told in the log (http_port_taken) and tried
 * again every few seconds: it is no error here. NULL, with `err` filled, when the address is none.
 */
NODISCARD struct endpoints *endpoints_new(const struct endpoints_params *params, struct err *err);
void endpoints_free(struct endpoints *e); /* drops who is connected; NULL is harmless */

#endif
