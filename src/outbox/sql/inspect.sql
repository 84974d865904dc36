-- What `outboxd check` asks beyond check_server.sql: settings, the trigger that makes commits durable, and how far the days
-- reach. Only catalogs: no grants are needed, and what is not there is NULL. Days are told by the partitions' bounds.
WITH event AS (
    SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'outbox' AND c.relname = 'event' AND c.relkind = 'p'
), leaf AS MATERIALIZED (
    SELECT c.oid, pg_get_expr(c.relpartbound, c.oid) AS bound
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = (SELECT oid FROM event)
), range AS MATERIALIZED (
    SELECT coalesce(substring(bound FROM 'FROM \(''([^'']*)''\)'), '-infinity')::timestamptz AS from_time,
        coalesce(substring(bound FROM 'TO \(''([^'']*)''\)'), 'infinity')::timestamptz AS until_time
    FROM leaf WHERE bound LIKE 'FOR VALUES FROM %'
)
SELECT getdatabaseencoding() AS encoding,
    pg_has_role('pg_read_all_stats', 'USAGE') AS sees_all,
    current_setting('max_prepared_transactions')::integer AS max_prepared,
    current_setting('fsync')::boolean AS fsync,
    (SELECT reset_val FROM pg_settings WHERE name = 'synchronous_commit') AS synchronous_commit,
    EXISTS (SELECT FROM pg_trigger WHERE tgrelid = (SELECT oid FROM event) AND tgname = 'event_commit_durably') AS has_durable,
    EXISTS (SELECT FROM pg_trigger WHERE tgrelid = (SELECT oid FROM event) AND tgname = 'event_commit_durably'
        AND tgenabled IN ('O', 'A')) AS durable,
    -- the first day that has no partition, 0 is today (UTC); 61: none is missing
    (SELECT coalesce(min(d), 61) FROM generate_series(0, 60) AS d,
            LATERAL (SELECT ((now() AT TIME ZONE 'UTC')::date + d)::timestamp AT TIME ZONE 'UTC' AS midnight) AS day
        WHERE NOT EXISTS (SELECT FROM range r WHERE midnight >= r.from_time AND midnight < r.until_time)) AS days,
    EXISTS (SELECT FROM leaf WHERE bound = 'DEFAULT') AS has_net,
    (SELECT pg_relation_size(oid) FROM leaf WHERE bound = 'DEFAULT') AS net_bytes
