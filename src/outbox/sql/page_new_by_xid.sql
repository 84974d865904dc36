-- The transactions that began after the base was taken, few rows: along the index (xid, id), then sorted.
(SELECT f.* FROM (
        SELECT e.* FROM outbox.event e
        WHERE (e.xid, e.id) >= (:xmax::xid8, '-9223372036854775808'::bigint)
          AND (e.xid, e.id) < (pg_snapshot_xmax(:target::pg_snapshot), '-9223372036854775808'::bigint)
          AND pg_visible_in_snapshot(e.xid, :target::pg_snapshot)
        ORDER BY e.xid, e.id OFFSET 0) AS f
    WHERE f.id > :last_id::bigint
    ORDER BY f.id LIMIT :max_rows)
