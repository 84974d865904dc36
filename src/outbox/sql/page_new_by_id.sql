-- The transactions that began after the base was taken, many rows: along the index on id. CASE hides the condition on xid
-- from the planner, which would use the other index for it and sort.
(SELECT e.* FROM outbox.event e
    WHERE e.id > :from_id::bigint
      AND CASE WHEN e.xid >= :xmax::xid8 THEN pg_visible_in_snapshot(e.xid, :target::pg_snapshot) ELSE false END
    ORDER BY e.id LIMIT :max_rows)
