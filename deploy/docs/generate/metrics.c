/* deploy/docs/metrics.md: every metric, from ops/metrics.c. */
#include "generate.h"

#include "ops/metrics.h"
#include "relay/relay.h"

static void put_metric(struct str *out, const struct metric *m)
{
    str_printf(out, "| `%s` | %s | ", m->name, metric_type_name(m->type));
    if (m->labels[0] != '\0')
        str_printf(out, "`%s`", m->labels);
    str_printf(out, " | %s | %s |\n", m->unit, m->help);
}

int put_metrics_md(struct str *out, struct err *err)
{
    (void)err;
    str_puts(
        out,
        "# Metrics\n\n"
        "Served at `/metrics` of `http.listen` (127.0.0.1:9464 unless set) in Prometheus' text "
        "format, written by\n`make docs` from the table that the program itself reads "
        "(`src/ops/metrics.c`). Names never change once\nreleased. No topic, key or event id "
        "is a label. What is not known yet is left out, not 0.\n\n"
        "Alerts: `deploy/prometheus/outboxd.rules.yml`. Dashboard: "
        "`deploy/grafana/outboxd.json`.\n\n"
        "| Name | Type | Labels | Unit | Meaning |\n|---|---|---|---|---|\n");
    for (size_t i = 0; i < metrics_count(); i++) {
        struct metric m = metrics_at(i);

        put_metric(out, &m);
    }
    str_puts(out, "\n## Labels\n\n"
                  "- `class` and `cause` are words of the [runbook](runbook.md).\n"
                  "- `route` is the name of a route of the configuration; `default` for events "
                  "that none matches.\n"
                  "- `side` is `postgres` or `kafka`.\n"
                  "- `relay` and `instance` of `outboxd_build_info` are `relay.name` and "
                  "`relay.instance`. Prometheus has an\n  `instance` of its own, the address that "
                  "it asks, and calls ours `exported_instance`. By these labels\n  processes "
                  "become relays: `sum by (relay) (outboxd_leader * on (job, instance) group_left "
                  "(relay)\n  outboxd_build_info)`.\n\n## Latency\n\n"
                  "`outboxd_delivery_seconds` has the bounds ");
    for (size_t i = 0; i < RELAY_LATENCY_BUCKETS; i++)
        str_printf(out, "%s%g", i == 0 ? "" : ", ", relay_latency_bounds[i]);
    str_puts(out, " seconds.\n");
    return 0;
}
