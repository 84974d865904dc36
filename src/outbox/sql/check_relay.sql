-- The schema's version, and the stored position of the relay against the server's own counters.
SELECT coalesce((SELECT max(version) FROM outbox.migration), 0) AS version,
    r.name IS NOT NULL AND l.id IS NOT NULL AS has_row,
    r.system_identifier::text AS system_identifier,
    greatest(pg_snapshot_xmax(l.base), pg_snapshot_xmax(l.target)) > pg_snapshot_xmax(pg_current_snapshot()) AS ahead,
    greatest(pg_snapshot_xmax(l.base), pg_snapshot_xmax(l.target))::text AS stored_xmax,
    pg_snapshot_xmax(pg_current_snapshot())::text AS server_xmax,
    r.bell AS bell
FROM (VALUES (0)) AS one(n)
LEFT JOIN outbox.relay r ON r.name = :relay::text
LEFT JOIN outbox.lane l ON l.relay = r.name AND l.id = 0
