-- How many events lane :id of relay :relay has before it, at most :most, and whether there are more. Unsent is what
-- status_unsent.sql says, but each branch keeps only what the lane may cover. At most :scan_rows rows of each are looked at;
-- where there are more of them than that, the number is a lower bound, and told as capped.
WITH l AS MATERIALIZED (
    SELECT base, target, coalesce(target, base) AS upto, last_id FROM outbox.lane WHERE relay = :relay AND id = :id
), late AS (
    SELECT e.* FROM l, LATERAL (
        (SELECT * FROM outbox.event WHERE xid >= pg_snapshot_xmax(l.upto) ORDER BY xid, id LIMIT :scan_rows)
        UNION ALL
        (SELECT s.* FROM pg_snapshot_xip(l.upto) AS x, LATERAL (
            SELECT * FROM outbox.event WHERE xid = x ORDER BY xid, id LIMIT :scan_rows) AS s)) AS e
), old AS (
    SELECT e.* FROM l, pg_snapshot_xip(l.base) AS x, LATERAL (
        SELECT * FROM outbox.event
        WHERE (xid, id) > (x, l.last_id) AND (xid, id) <= (x, 9223372036854775807) ORDER BY xid, id LIMIT :scan_rows) AS e
    WHERE pg_visible_in_snapshot(x, l.target)
), fresh AS (
    SELECT e.*, e.id > l.last_id AND pg_visible_in_snapshot(e.xid, l.target) AS unsent
    FROM l, LATERAL (
        SELECT * FROM outbox.event
        WHERE xid >= pg_snapshot_xmax(l.base) AND xid < pg_snapshot_xmax(l.target) ORDER BY xid, id LIMIT :scan_rows) AS e
), seen AS (
    SELECT e.id, true AS unsent, (:lane) IS TRUE AS covered FROM late AS e
    UNION ALL SELECT e.id, true, (:lane) IS TRUE FROM old AS e
    UNION ALL SELECT e.id, e.unsent, (:lane) IS TRUE FROM fresh AS e
), counted AS (
    SELECT count(*) AS looked_at, count(*) FILTER (WHERE unsent AND covered) AS waiting FROM seen
)
SELECT least(waiting, :most), looked_at >= :scan_rows OR waiting > :most FROM counted
