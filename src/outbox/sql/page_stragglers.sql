-- Transactions that ran when the base was taken and have ended when the target was. The row comparisons pin the index
-- (xid, id): with xid = x the planner may walk the index on id instead, past every settled row.
(SELECT s.* FROM pg_snapshot_xip(:base::pg_snapshot) AS x(xid)
    CROSS JOIN LATERAL (
        SELECT e.* FROM outbox.event e
        WHERE (e.xid, e.id) > (x.xid, :last_id::bigint) AND (e.xid, e.id) <= (x.xid, '9223372036854775807'::bigint)
        ORDER BY e.xid, e.id LIMIT :max_rows) AS s
    WHERE pg_visible_in_snapshot(x.xid, :target::pg_snapshot)
    ORDER BY s.id LIMIT :max_rows)
