#include "load.h"

#include "base/str.h"
#include "load_writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define MAX_KEYS 100000

void load_prepare(const struct pg_server *pg)
{
    PGconn *conn = pg_open(pg, NULL);

    /* Room on the pages keeps the updates of hot keys cheap. */
    pg_exec(conn, "CREATE TABLE IF NOT EXISTS public.load_aggregate (key text PRIMARY KEY, seq "
                  "bigint NOT NULL DEFAULT 0)"
                  " WITH (fillfactor = 50)");
    pg_exec(conn, "GRANT SELECT, INSERT, UPDATE ON public.load_aggregate TO svc");
    PQfinish(conn);
}

static void make_keys(const struct load *l)
{
    PGconn *conn = pg_open(l->params.pg, NULL);

    pg_exec(
        conn,
        "INSERT INTO public.load_aggregate (key) SELECT 'key-' || n FROM generate_series(0, %d) n"
        " UNION ALL SELECT 'long-' || n FROM generate_series(0, %d) n ON CONFLICT DO NOTHING",
        l->params.hot_keys + l->params.cold_keys - 1, l->writer_count - 1);
    PQfinish(conn);
}

struct load *load_start(const struct load_params *params)
{
    struct load *l = xcalloc(1, sizeof *l);

    l->params = *params;
    if (l->params.writers == 0)
        l->params.writers = 8;
    if (l->params.hot_keys == 0)
        l->params.hot_keys = 3;
    if (l->params.cold_keys == 0)
        l->params.cold_keys = 500;
    if (l->params.hot_keys + l->params.cold_keys > MAX_KEYS)
        support_fail("load: at most %d keys", MAX_KEYS);
    if (getrandom(&l->salt, sizeof l->salt, 0) != (ssize_t)sizeof l->salt)
        support_fail("load: getrandom failed");
    l->end_ms = params->duration_ms > 0 ? test_now_ms() + (uint64_t)params->duration_ms : 0;
    l->writer_count = l->params.writers + (params->long_transaction ? 1 : 0);
    l->writers = xcalloc((size_t)l->writer_count, sizeof *l->writers);
    make_keys(l);
    atomic_store(&l->running, l->writer_count);
    for (int i = 0; i < l->writer_count; i++) {
        struct load_writer *w = &l->writers[i];
        w->load = l;
        w->number = i;
        w->is_long = i == l->params.writers;
        w->random = params->seed * 1000003U + (uint64_t)i;
        if (pthread_create(&w->thread, NULL, load_writer_run, w) != 0)
            support_fail("load: no thread");
    }
    return l;
}

int64_t load_committed(const struct load *l)
{
    return atomic_load(&l->committed);
}

/* The long transaction waits for the others' end, so it does not count. */
bool load_is_running(const struct load *l)
{
    return atomic_load(&l->running) > (l->params.long_transaction ? 1 : 0);
}

/* ---- the end ---- */

/* Looks into the table for what COMMIT did not tell. */
static void resolve(struct load_writer *w, PGconn *conn)
{
    for (size_t i = 0; i < w->log_count; i++) {
        struct load_entry *e = &w->log[i];
        char hex[33];
        if (e->fate != LOAD_UNKNOWN)
            continue;
        for (int k = 0; k < 16; k++)
            (void)snprintf(hex + 2 * k, 3, "%02x", e->event_id[k]);
        e->fate = LOAD_ROLLED_BACK;
        if (pg_int(conn, "SELECT count(*) FROM outbox.event WHERE event_id = '%s'", hex) > 0) {
            e->fate = LOAD_COMMITTED;
            atomic_fetch_add(&w->load->committed, 1);
        }
    }
}

static bool has_unknown(const struct load *l)
{
    for (int i = 0; i < l->writer_count; i++)
        for (size_t k = 0; k < l->writers[i].log_count; k++)
            if (l->writers[i].log[k].fate == LOAD_UNKNOWN)
                return true;
    return false;
}

void load_stop(struct load *l)
{
    if (l->joined)
        return;
    atomic_store(&l->stop, true);
    for (int i = 0; i < l->writer_count; i++)
        (void)pthread_join(l->writers[i].thread, NULL);
    l->joined = true;
    if (has_unknown(l)) {
        PGconn *conn = pg_open(l->params.pg, NULL);
        for (int i = 0; i < l->writer_count; i++)
            resolve(&l->writers[i], conn);
        PQfinish(conn);
    }
    for (int i = 0; i < l->writer_count; i++)
        if (l->writers[i].error[0] != '\0')
            support_fail("load, writer %d: %s", i, l->writers[i].error);
}

void load_wait(struct load *l, int timeout_ms)
{
    WAIT_UNTIL(!load_is_running(l), timeout_ms);
    load_stop(l);
}

void load_free(struct load *l)
{
    if (l == NULL)
        return;
    load_stop(l);
    for (int i = 0; i < l->writer_count; i++)
        free(l->writers[i].log);
    free(l->writers);
    free(l);
}

struct load_totals load_totals(const struct load *l)
{
    struct load_totals t = {0};

    for (int i = 0; i < l->writer_count; i++) {
        const struct load_writer *w = &l->writers[i];
        t.transactions += w->transactions;
        t.reconnects += w->reconnects;
        for (size_t k = 0; k < w->log_count; k++) {
            t.committed += w->log[k].fate == LOAD_COMMITTED;
            t.rolled_back += w->log[k].fate == LOAD_ROLLED_BACK;
            t.unknown += w->log[k].fate == LOAD_UNKNOWN;
        }
    }
    return t;
}

void load_each(const struct load *l, void (*fn)(void *ctx, const struct load_entry *e), void *ctx)
{
    for (int i = 0; i < l->writer_count; i++)
        for (size_t k = 0; k < l->writers[i].log_count; k++)
            fn(ctx, &l->writers[i].log[k]);
}

void load_bulk(PGconn *conn, const struct load_bulk *b)
{
    pg_exec(
        conn,
        "INSERT INTO outbox.event (aggregate_type, aggregate_id, event_type, payload)"
        " SELECT '" LOAD_TYPE "', '%s-' || n %% %lld, 'order.placed',"
        "  ('{\"seq\": ' || (%lld + n / %lld) || ', \"pad\": \"' || repeat('x', %d) || '\"}')::json"
        " FROM generate_series(0, %lld) n",
        b->prefix, (long long)b->keys, (long long)b->first_seq, (long long)b->keys,
        b->payload_bytes > 30 ? b->payload_bytes - 30 : 0, (long long)b->events - 1);
}
