-- Where relay $1 stands, before it is moved: its position, whether that says anything about this server, the ids of the
-- table's ends, and the smallest id that is not published (NULL: none). Found as in status_unsent.sql, with branches that stop
-- after $2 rows, so that a backlog of any size costs the same.
WITH l AS MATERIALIZED (
    SELECT l.base, l.target, coalesce(l.target, l.base) AS upto, l.last_id,
        r.system_identifier <> c.system_identifier AS foreign_server,
        greatest(pg_snapshot_xmax(l.base), pg_snapshot_xmax(l.target)) > pg_snapshot_xmax(pg_current_snapshot()) AS ahead
    FROM outbox.relay r CROSS JOIN pg_control_system() c JOIN outbox.lane l ON l.relay = r.name AND l.id = 0
    WHERE r.name = $1::text
), sample AS MATERIALIZED (
    SELECT e.id, e.id > l.last_id AND pg_visible_in_snapshot(e.xid, l.target) AS unsent
    FROM l, LATERAL (
        SELECT xid, id FROM outbox.event
        WHERE xid >= pg_snapshot_xmax(l.base) AND xid < pg_snapshot_xmax(l.target) ORDER BY xid, id LIMIT $2::bigint) AS e
), unsent AS (
    SELECT e.id
    FROM l, LATERAL (
        (SELECT xid, id FROM outbox.event WHERE xid >= pg_snapshot_xmax(l.upto) ORDER BY xid, id LIMIT $2::bigint)
        UNION ALL
        (SELECT s.xid, s.id
         FROM pg_snapshot_xip(l.upto) AS x, LATERAL (
            SELECT xid, id FROM outbox.event WHERE xid = x ORDER BY xid, id LIMIT 1) AS s)) AS e
    UNION ALL
    SELECT e.id
    FROM l, pg_snapshot_xip(l.base) AS x, LATERAL (
        SELECT id FROM outbox.event
        WHERE (xid, id) > (x, l.last_id) AND (xid, id) <= (x, 9223372036854775807) ORDER BY xid, id LIMIT 1) AS e
    WHERE pg_visible_in_snapshot(x, l.target)
    UNION ALL
    SELECT id FROM sample WHERE unsent AND (SELECT count(*) FROM sample) < $2::bigint
    UNION ALL
    SELECT n.id
    FROM l, (SELECT min(id) AS id, count(*) AS rows FROM sample) AS s, LATERAL (
        SELECT id FROM outbox.event
        WHERE id > greatest(l.last_id, s.id - 1)
            AND CASE WHEN xid >= pg_snapshot_xmax(l.base) THEN pg_visible_in_snapshot(xid, l.target) END
        ORDER BY id LIMIT (CASE WHEN s.rows < $2::bigint THEN 0 ELSE 1 END)) AS n
)
SELECT l.base::text, coalesce(l.target::text, ''), l.last_id, l.foreign_server, l.ahead,
    coalesce((SELECT id FROM outbox.event ORDER BY id LIMIT 1), 0),
    coalesce((SELECT id FROM outbox.event ORDER BY id DESC LIMIT 1), 0),
    coalesce((SELECT min(id) FROM unsent), 0)
FROM l
