-- As page_new_by_id.sql, for a lane: :scan_rows rows are looked at, in the batch or not, so that neither a rare key nor a
-- target from long ago costs a walk over the whole table. The last of them comes in any case (last: see
-- lane_stragglers.sql). What is not wanted is not unpacked: the window only passes it on.
(SELECT n.*, CASE WHEN NOT n.at_bound THEN 0 WHEN n.wanted THEN 1 ELSE 2 END::smallint AS last
    FROM (
        SELECT e.*, CASE WHEN e.xid >= :xmax::xid8 AND pg_visible_in_snapshot(e.xid, :target::pg_snapshot)
                THEN (:lane) IS TRUE ELSE false END AS wanted,
            row_number() OVER (ORDER BY e.id) = :scan_rows AS at_bound
        FROM (
            SELECT e.* FROM outbox.event e WHERE e.id > :from_id::bigint AND e.id <= :until_id
            ORDER BY e.id LIMIT :scan_rows) AS e) AS n
    WHERE n.wanted OR n.at_bound
    ORDER BY n.id LIMIT :max_rows)
