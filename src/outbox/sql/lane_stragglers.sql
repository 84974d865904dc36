-- As page_stragglers.sql, for a lane. Of each transaction :scan_rows rows are looked at; the last of them comes in any case,
-- with last = 1 when it is one of the lane's, else 2: behind it nothing was looked at.
(SELECT s.* FROM pg_snapshot_xip(:base::pg_snapshot) AS x(xid)
    CROSS JOIN LATERAL (
        SELECT n.*, CASE WHEN NOT n.at_bound THEN 0 WHEN n.wanted THEN 1 ELSE 2 END::smallint AS last
        FROM (
            SELECT e.*, (:lane) IS TRUE AS wanted, row_number() OVER (ORDER BY e.xid, e.id) = :scan_rows AS at_bound
            FROM (
                SELECT e.* FROM outbox.event e
                WHERE (e.xid, e.id) > (x.xid, :last_id::bigint) AND (e.xid, e.id) <= (x.xid, '9223372036854775807'::bigint)
                ORDER BY e.xid, e.id LIMIT :scan_rows) AS e) AS n
        WHERE n.wanted OR n.at_bound
        ORDER BY n.xid, n.id LIMIT :max_rows) AS s
    WHERE pg_visible_in_snapshot(x.xid, :target::pg_snapshot)
    ORDER BY s.id LIMIT :max_rows)
