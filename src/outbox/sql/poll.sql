-- The common case: what became visible since the base $1, whole or not at all.
-- $2 most rows, $3 most bytes of payloads and headers.
-- The first row (id NULL) is the head: this statement's snapshot, and whether the events follow. They follow in id order
-- when they are at most $2 and small enough. Both branches stop at $2 + 1 rows, so a backlog costs no more than that. The
-- row comparisons pin the index (xid, id). Stored sizes are asked first: they cost nothing, the true ones unpack payloads.
WITH fresh AS MATERIALIZED (
    (SELECT s.* FROM pg_snapshot_xip($1::pg_snapshot) AS x(xid)
        CROSS JOIN LATERAL (
            SELECT e.* FROM outbox.event e
            WHERE (e.xid, e.id) >= (x.xid, '-9223372036854775808'::bigint)
              AND (e.xid, e.id) <= (x.xid, '9223372036854775807'::bigint)
            ORDER BY e.xid, e.id LIMIT $2::bigint + 1) s
        LIMIT $2::bigint + 1)
    UNION ALL
    (SELECT e.* FROM outbox.event e
        WHERE (e.xid, e.id) >= (pg_snapshot_xmax($1::pg_snapshot), '-9223372036854775808'::bigint)
        ORDER BY e.xid, e.id LIMIT $2::bigint + 1)
), stored AS MATERIALIZED (
    SELECT count(*) <= $2::bigint AND coalesce(sum(coalesce(pg_column_size(payload), 0)
        + coalesce(pg_column_size(payload_bytes), 0) + coalesce(pg_column_size(headers), 0)), 0) <= $3::bigint AS fits
    FROM fresh
), measured AS MATERIALIZED (
    SELECT CASE WHEN stored.fits THEN coalesce((
        SELECT sum(coalesce(octet_length(payload::text), 0)::bigint + coalesce(octet_length(payload_bytes), 0)
            + coalesce(octet_length(headers::text), 0)) FROM fresh), 0) <= $3::bigint ELSE false END AS fits
    FROM stored
)
SELECT NULL::bigint AS id, NULL::uuid, NULL::text, NULL::text, NULL::text, NULL::text, NULL::json, NULL::bytea, NULL::text,
    NULL::json, NULL::text, NULL::text, NULL::timestamptz, NULL::timestamptz, NULL::bigint,
    pg_current_snapshot()::text, measured.fits
FROM measured
UNION ALL
SELECT e.id, e.event_id, e.aggregate_type, e.aggregate_id, e.event_type, e.event_version, e.payload, e.payload_bytes,
    e.content_type, e.headers, e.topic, e.partition_key, e.occurred_at, e.created_at, 0, NULL, NULL
FROM fresh e, measured WHERE measured.fits
ORDER BY 1 NULLS FIRST
