/* What both tests of retention start from: a server, and days that are over. */
#ifndef OUTBOXD_TESTS_RETENTION_CASE_H
#define OUTBOXD_TESTS_RETENTION_CASE_H

#include "../support/check.h"
#include "../support/pg.h"

static struct pg_server pg;
static PGconn *owner; /* superuser */

#define DAY_MS INT64_C(86400000)
#define OLD_EVENT                                                                                  \
    "INSERT INTO outbox.event (aggregate_type, aggregate_id, event_type, created_at) "             \
    "VALUES ('order', 'old', 'order.placed', now() - %d * interval '1 day')"

/* ---- what the tests start from ---- */

/* Empty, with partitions of the `days` days before today, and one relay that has published all. */
static inline void begin(int days)
{
    pg_exec(owner, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE xact_start IS NOT "
                   "NULL AND backend_type = 'client backend' AND pid <> pg_backend_pid()");
    pg_exec(owner, "TRUNCATE outbox.event; DELETE FROM outbox.relay WHERE name <> 'orders'; DELETE "
                   "FROM outbox.lane WHERE id > 0");
    pg_exec(owner, "DO $$DECLARE leaf text; BEGIN FOR leaf IN SELECT oid::regclass::text FROM "
                   "pg_class WHERE relkind = 'r' AND relname ~ '^event_[0-9]{8}$' AND relname < "
                   "'event_' || to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD') LOOP EXECUTE 'DROP "
                   "TABLE ' || leaf; END LOOP; END$$");
    pg_exec(owner,
            "SET ROLE outbox_owner; SELECT outbox.make_day((now() AT TIME ZONE 'UTC')::date - d) "
            "FROM generate_series(1, %d) d; RESET ROLE",
            days);
}

static inline void settle(const char *relay)
{
    pg_exec(owner,
            "UPDATE outbox.lane SET base = pg_current_snapshot(), target = NULL, last_id = 0 WHERE "
            "relay = '%s'",
            relay);
}

/* Days before today that have a partition, and rows in all. */
static inline int64_t old_partitions(void)
{
    return pg_int(owner, "SELECT count(*) FROM pg_inherits WHERE inhparent = "
                         "'outbox.event'::regclass AND inhrelid::regclass::text < 'outbox.event_' "
                         "|| to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD')");
}

static inline int64_t rows(void)
{
    return pg_int(owner, "SELECT count(*) FROM outbox.event");
}

static inline int start_server(void **state)
{
    (void)state;
    pg_create(&pg, NULL);
    pg_apply_schema(&pg);
    owner = pg_open(&pg, NULL);
    pg_exec(owner, "SET statement_timeout = '30s'"); /* a failed test leaves its locks */
    pg_exec(owner, "ALTER ROLE relay SET log_statement = 'all'");
    pg_exec(owner,
            "ALTER ROLE svc SET log_lock_waits = on; ALTER ROLE svc SET deadlock_timeout = 5");
    return 0;
}

static inline int stop_server(void **state)
{
    (void)state;
    PQfinish(owner);
    pg_drop(&pg);
    return 0;
}

#endif
