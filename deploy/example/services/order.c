/* The order service: takes orders over HTTP, and moves them on as inventory and payment answer.
 *
 *   POST /orders      201 the new order; 200 the one that its Idempotency-Key stands for;
 *                     400, 409, 413 with a reason; 503 the database is away: try again, with the
 *                     same Idempotency-Key, because the order may have been placed
 *   GET  /orders/ID   the order as it is now, or 404
 *   GET  /healthz     200, or 503 while the database is away
 *
 * LISTEN says where (host:port); the rest of the environment is in service.h. One loop serves HTTP
 * and the events; neither Kafka nor another service is needed to take an order. */
#include "orders.h"

#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BODY_MAX = 64 * 1024, KEY_MAX = 200, TURNS_OF_PAUSE = 10 };

static const struct timeval turn = {.tv_usec = 100000}; /* of the clock: then orders are shipped */

struct order_service {
    struct service service;
    struct event_base *base;
    PGconn *db; /* for requests and shipping; the consumer has its own */
    int pause;  /* turns of the clock without shipping, after a failure */
    int failed; /* service_turn's answer */
};

/* ---- HTTP ------------------------------------------------------------------------------------ */

static void answer(struct evhttp_request *http, int code, const char *json)
{
    struct evbuffer *body = evbuffer_new();

    (void)evhttp_add_header(evhttp_request_get_output_headers(http), "Content-Type",
                            "application/json");
    (void)evbuffer_add_printf(body, "%s\n", json);
    evhttp_send_reply(http, code, NULL, body);
    evbuffer_free(body);
}

static void refuse(struct evhttp_request *http, int code, const char *why)
{
    char json[200];

    (void)snprintf(json, sizeof json, "{\"error\": \"%s\"}", why);
    answer(http, code, json);
}

/* `json` is freed. */
static void answer_outcome(struct evhttp_request *http, enum orders_outcome outcome, int done_code,
                           char *json)
{
    switch (outcome) {
    case ORDERS_DONE:
        answer(http, done_code, json == NULL ? "{}" : json);
        break;
    case ORDERS_SEEN:
        answer(http, 200, json == NULL ? "{}" : json);
        break;
    case ORDERS_CONFLICT:
        refuse(http, 409, "this Idempotency-Key was used for another order");
        break;
    case ORDERS_NONE:
        refuse(http, 404, "no such order");
        break;
    case ORDERS_AWAY:
        refuse(http, 503, "the database is away; try again with the same Idempotency-Key");
        break;
    }
    free(json);
}

static bool is_key(const char *text)
{
    size_t len = 0;

    if (text == NULL)
        return true;
    while (text[len] > ' ' && text[len] <= '~')
        len++;
    return len > 0 && len <= KEY_MAX && text[len] == '\0';
}

static void place(struct evhttp_request *http, PGconn *db)
{
    struct evbuffer *in = evhttp_request_get_input_buffer(http);
    const size_t len = evbuffer_get_length(in);
    const char *body = (const char *)evbuffer_pullup(in, -1);
    struct order_request request;
    const char *wrong = order_request_init(&request, body == NULL ? "" : body, len);
    char *json = NULL;

    request.idempotency_key =
        evhttp_find_header(evhttp_request_get_input_headers(http), "Idempotency-Key");
    if (wrong == NULL && !is_key(request.idempotency_key))
        wrong = "Idempotency-Key must be 1 to 200 characters of ASCII without blanks";
    if (wrong != NULL) {
        refuse(http, 400, wrong);
    } else {
        const enum orders_outcome outcome = orders_place(db, &request, &json);

        answer_outcome(http, outcome, 201, json);
    }
    order_request_release(&request);
}

static void on_orders(struct evhttp_request *http, void *arg)
{
    struct order_service *o = arg;

    if (evhttp_request_get_command(http) == EVHTTP_REQ_POST)
        place(http, o->db);
    else
        refuse(http, 405, "POST an order here");
}

static void on_healthz(struct evhttp_request *http, void *arg)
{
    struct order_service *o = arg;

    if (orders_is_there(o->db))
        answer(http, 200, "{\"status\": \"ok\"}");
    else
        refuse(http, 503, "the database is away");
}

static void on_other(struct evhttp_request *http, void *arg)
{
    struct order_service *o = arg;
    const char *path = evhttp_uri_get_path(evhttp_request_get_evhttp_uri(http));
    char *json = NULL;

    if (path == NULL || strncmp(path, "/orders/", 8) != 0) {
        refuse(http, 404, "there are POST /orders, GET /orders/ID and GET /healthz");
    } else {
        const enum orders_outcome outcome = orders_find(o->db, path + 8, &json);

        answer_outcome(http, outcome, 200, json);
    }
}

/* NULL after a line on stderr. */
static struct evhttp *listen_at(struct order_service *o, const char *where)
{
    struct evhttp *http = evhttp_new(o->base);
    const char *colon = strrchr(where, ':');
    char host[200];
    char *end = NULL;
    const long port = colon == NULL ? 0 : strtol(colon + 1, &end, 10);

    (void)snprintf(host, sizeof host, "%.*s", colon == NULL ? 0 : (int)(colon - where), where);
    if (http == NULL || port < 1 || port > 65535 || *end != '\0' ||
        evhttp_bind_socket(http, host, (uint16_t)port) != 0) {
        service_log(INBOX_LOG_ERROR, "order", "msg=\"cannot listen at LISTEN=%s\"", where);
        if (http != NULL)
            evhttp_free(http);
        return NULL;
    }
    evhttp_set_allowed_methods(http, EVHTTP_REQ_GET | EVHTTP_REQ_POST);
    evhttp_set_max_body_size(http, BODY_MAX);
    evhttp_set_timeout(http, 30);
    (void)evhttp_set_cb(http, "/orders", on_orders, o);
    (void)evhttp_set_cb(http, "/healthz", on_healthz, o);
    evhttp_set_gencb(http, on_other, o);
    return http;
}

/* ---- events and time ------------------------------------------------------------------------- */

static void on_inbox(evutil_socket_t fd, short what, void *arg)
{
    struct order_service *o = arg;

    (void)fd;
    (void)what;
    o->failed = service_turn(&o->service);
    if (o->failed != 0)
        (void)event_base_loopbreak(o->base);
}

static void on_time(evutil_socket_t fd, short what, void *arg)
{
    struct order_service *o = arg;

    (void)fd;
    (void)what;
    if (o->pause > 0)
        o->pause--;
    else if (orders_ship(o->db) < 0)
        o->pause = TURNS_OF_PAUSE;
    service_tell(&o->service);
}

static void loop(struct order_service *o)
{
    struct event *inbox =
        event_new(o->base, inbox_fd(o->service.inbox), EV_READ | EV_PERSIST, on_inbox, o);
    struct event *time = event_new(o->base, -1, EV_PERSIST, on_time, o);

    (void)event_add(inbox, NULL);
    (void)event_add(time, &turn);
    (void)event_base_dispatch(o->base);
    event_free(inbox);
    event_free(time);
}

int main(void)
{
    static const char *const topics[] = {"inventory-events", "payment-events", NULL};
    static const struct service_params params = {
        .name = "order", .topics = topics, .handlers = orders_handlers};
    struct order_service o = {0};
    const char *where = service_env("LISTEN");
    struct evhttp *http;
    int rc = where == NULL ? SERVICE_USAGE : service_init(&o.service, &params);

    if (rc != 0)
        return rc;
    o.base = event_base_new();
    o.db = orders_connect(getenv("DATABASE_URL"));
    http = listen_at(&o, where);
    if (http != NULL) {
        loop(&o);
        evhttp_free(http);
    }
    PQfinish(o.db);
    event_base_free(o.base);
    service_release(&o.service);
    if (http == NULL)
        return SERVICE_USAGE;
    return o.failed < 0 ? SERVICE_CONFIG : 0;
}
