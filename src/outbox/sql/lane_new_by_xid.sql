-- As page_new_by_xid.sql, for a lane. They are few: all of them are looked at. OFFSET 0 keeps the conditions outside from
-- the planner, which for the one on id would walk the index on id, past a million stragglers at each page.
(SELECT e.*, true AS wanted, false AS at_bound, 0::smallint AS last
    FROM (
        SELECT e.* FROM outbox.event e
        WHERE (e.xid, e.id) >= (:xmax::xid8, '-9223372036854775808'::bigint)
          AND (e.xid, e.id) < (pg_snapshot_xmax(:target::pg_snapshot), '-9223372036854775808'::bigint)
          AND pg_visible_in_snapshot(e.xid, :target::pg_snapshot)
        ORDER BY e.xid, e.id OFFSET 0) AS e
    WHERE e.id > :last_id::bigint AND (:lane) IS TRUE
    ORDER BY e.id LIMIT :max_rows)
