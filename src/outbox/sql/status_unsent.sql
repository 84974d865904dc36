-- How many events the main lane of relay $1 has not settled, and the age of the oldest in seconds, without counting a
-- backlog: every branch stops after $2 rows. Unsent are
--   late:  what is not visible in target (in base, while there is no target), which nothing has settled yet;
--   old:   transactions that were open at base and had committed at target, beyond last_id;
--   fresh: those that began after base and had committed at target, beyond last_id.
-- A branch that reaches $2 rows is not counted to its end. The number is then estimated by the distance of ids.
WITH l AS MATERIALIZED (
    SELECT base, target, coalesce(target, base) AS upto, last_id FROM outbox.lane WHERE relay = $1 AND id = 0
), late AS MATERIALIZED (
    SELECT e.id, e.created_at
    FROM l, LATERAL (
        (SELECT xid, id, created_at FROM outbox.event
         WHERE xid >= pg_snapshot_xmax(l.upto) ORDER BY xid, id LIMIT $2)
        UNION ALL
        (SELECT s.xid, s.id, s.created_at
         FROM pg_snapshot_xip(l.upto) AS x, LATERAL (
            SELECT xid, id, created_at FROM outbox.event WHERE xid = x ORDER BY xid, id LIMIT $2) AS s
         LIMIT $2)) AS e
), old AS MATERIALIZED (
    SELECT e.id, e.created_at
    FROM l, pg_snapshot_xip(l.base) AS x, LATERAL (
        SELECT id, created_at FROM outbox.event
        WHERE (xid, id) > (x, l.last_id) AND (xid, id) <= (x, 9223372036854775807) ORDER BY xid, id LIMIT $2) AS e
    WHERE pg_visible_in_snapshot(x, l.target)
    LIMIT $2
), sample AS MATERIALIZED (
    SELECT e.id, e.created_at, e.id > l.last_id AND pg_visible_in_snapshot(e.xid, l.target) AS unsent
    FROM l, LATERAL (
        SELECT xid, id, created_at FROM outbox.event
        WHERE xid >= pg_snapshot_xmax(l.base) AND xid < pg_snapshot_xmax(l.target) ORDER BY xid, id LIMIT $2) AS e
), fresh AS (
    -- All of them, if they are few. Else the next one is found along the id: last_id is somewhere among them.
    SELECT id, created_at FROM sample WHERE unsent AND (SELECT count(*) FROM sample) < $2
    UNION ALL
    SELECT n.id, n.created_at
    FROM l, (SELECT min(id) AS id, count(*) AS rows FROM sample) AS s, LATERAL (
        SELECT id, created_at FROM outbox.event
        WHERE id > greatest(l.last_id, s.id - 1)
            AND CASE WHEN xid >= pg_snapshot_xmax(l.base) THEN pg_visible_in_snapshot(xid, l.target) END
        ORDER BY id LIMIT (CASE WHEN s.rows < $2 THEN 0 ELSE 1 END)) AS n
), unsent AS (
    SELECT id, created_at FROM late
    UNION ALL SELECT id, created_at FROM old
    UNION ALL SELECT id, created_at FROM fresh
), capped AS (
    SELECT (SELECT count(*) FROM late) >= $2 AS late, (SELECT count(*) FROM old) >= $2 AS old,
        (SELECT count(*) FROM sample) >= $2 AND EXISTS (SELECT FROM fresh) AS fresh
), total AS (
    SELECT (SELECT count(*) FROM unsent) AS rows,
        (SELECT id FROM outbox.event ORDER BY id DESC LIMIT 1) + 1 + (SELECT count(*) FROM old)
            - least((SELECT min(id) FROM fresh WHERE c.fresh), (SELECT min(id) FROM late WHERE c.late)) AS estimate,
        c.late OR c.old OR c.fresh AS more,
        (SELECT min(created_at) FROM unsent) AS oldest
    FROM capped AS c
)
SELECT CASE WHEN more THEN greatest(rows, estimate) ELSE rows END,
    more,
    CASE WHEN oldest IS NULL THEN -1 ELSE greatest(0, extract(epoch FROM clock_timestamp() - oldest)) END
FROM total
