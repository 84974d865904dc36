-- Who reads the kept log, and where the relay $1 stands: a row for each of its lanes.
SELECT pg_is_in_recovery(), r.system_identifier <> c.system_identifier,
    greatest(pg_snapshot_xmax(l.base), pg_snapshot_xmax(l.target)) > pg_snapshot_xmax(pg_current_snapshot()),
    l.base::text, l.target::text, l.last_id
FROM outbox.relay r
JOIN outbox.lane l ON l.relay = r.name
CROSS JOIN pg_control_system() c
WHERE r.name = $1
ORDER BY l.id
