#include "ops/endpoints.h"

#include "ops/http.h"
#include "ops/metrics.h"
#include "ops/report.h"

#include <stdlib.h>

#define JSON_TYPE "application/json"

struct endpoints {
    struct endpoints_params params;
    struct http *http;
    struct str header;
};

static struct ops_view look(const struct endpoints *e)
{
    struct ops_view v = {0};

    e->params.look(e->params.ctx, &v);
    return v;
}

static void render_metrics(void *ctx, struct http_answer *out)
{
    struct ops_view v = look(ctx);

    out->type = METRICS_CONTENT_TYPE;
    metrics_write(out->body, &v);
}

/* That this runs is the answer. */
static void render_live(void *ctx, struct http_answer *out)
{
    (void)ctx;
    str_puts(out->body, "ok\n");
}

static void render_ready(void *ctx, struct http_answer *out)
{
    struct ops_view v = look(ctx);

    if (v.ready) {
        str_puts(out->body, "ok\n");
        return;
    }
    out->status = 503;
    out->type = JSON_TYPE;
    report_not_ready(out->body, &v);
}

static void render_status(void *ctx, struct http_answer *out)
{
    struct ops_view v = look(ctx);

    out->type = JSON_TYPE;
    report_status(out->body, &v);
}

static void render_index(void *ctx, struct http_answer *out)
{
    struct ops_view v = look(ctx);

    str_printf(out->body,
               "outboxd %s, relay %s, instance %s: %s\n\n"
               "%-10s for Prometheus\n"
               "%-10s 200 when it can publish or stands by, else 503 and why\n"
               "%-10s 200 while the process works\n"
               "%-10s everything, as JSON\n",
               v.version, v.relay, v.instance, v.ready ? "ready" : "not ready", OPS_METRICS_PATH,
               OPS_READY_PATH, OPS_LIVE_PATH, OPS_STATUS_PATH);
}

static const struct http_page pages[] = {
    {"/", render_index},
    {OPS_METRICS_PATH, render_metrics},
    {OPS_LIVE_PATH, render_live},
    {OPS_READY_PATH, render_ready},
    {OPS_STATUS_PATH, render_status},
};

struct endpoints *endpoints_new(const struct endpoints_params *params, struct err *err)
{
    struct endpoints *e = xcalloc(1, sizeof *e);
    struct http_params http = {.base = params->base,
                               .listen = params->listen,
                               .pages = pages,
                               .page_count = ARRAY_LEN(pages),
                               .ctx = e};

    e->params = *params;
    str_printf(&e->header, OPS_RELAY_HEADER ": %s\r\n", params->relay);
    http.header = str_text(&e->header);
    if (address_parse(params->listen, &http.address, err) == 0)
        e->http = http_new(&http, err);
    if (e->http != NULL)
        return e;
    endpoints_free(e);
    return NULL;
}

void endpoints_free(struct endpoints *e)
{
    if (e == NULL)
        return;
    http_free(e->http);
    str_release(&e->header);
    free(e);
}
