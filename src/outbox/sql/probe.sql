-- A backlog's first look: whether the rows of transactions that began after the base was taken are more than :few, and the
-- smallest id among them (0: there are none). The smallest id is found at once when it is among the next ids; else by the
-- index (xid, id) over all of them, which may take seconds on millions of rows, hence no timeout. id + 0 keeps the planner
-- off the index on id, where it would pass every settled row.
SET LOCAL statement_timeout = 0;
SELECT (SELECT count(*) FROM (
            SELECT e.id FROM outbox.event e
            WHERE (e.xid, e.id) >= (:xmax::xid8, '-9223372036854775808'::bigint)
              AND (e.xid, e.id) < (pg_snapshot_xmax(:target::pg_snapshot), '-9223372036854775808'::bigint)
              AND CASE WHEN e.id > :last_id::bigint THEN pg_visible_in_snapshot(e.xid, :target::pg_snapshot) END
            ORDER BY e.xid, e.id LIMIT :few + 1) AS f) > :few AS many,
    coalesce((
        SELECT n.id FROM (
            SELECT e.id, e.xid FROM outbox.event e WHERE e.id > :last_id::bigint ORDER BY e.id LIMIT 10000) AS n
        WHERE n.xid >= :xmax::xid8 AND pg_visible_in_snapshot(n.xid, :target::pg_snapshot)
        ORDER BY n.id LIMIT 1), (
        SELECT min(e.id + 0) FROM outbox.event e
        WHERE (e.xid, e.id) >= (:xmax::xid8, '-9223372036854775808'::bigint)
          AND (e.xid, e.id) < (pg_snapshot_xmax(:target::pg_snapshot), '-9223372036854775808'::bigint)
          AND CASE WHEN e.id > :last_id::bigint THEN pg_visible_in_snapshot(e.xid, :target::pg_snapshot) END), 0) AS min_id
