-- The three oldest transactions that have been open for more than $1 seconds and hold back vacuum in this database, or hold
-- a lock on outbox.event or a partition of it, and what ends each. Without pg_read_all_stats those of other roles have no
-- age and cannot be told, but for prepared ones.
SELECT name, extract(epoch FROM clock_timestamp() - began), locks_event, way_out
FROM (
    SELECT format('process %s (role %s, %s, %s)', a.pid, a.usename, coalesce(nullif(a.application_name, ''), 'no name'),
            a.state) AS name,
        a.xact_start AS began,
        a.backend_xmin IS NOT NULL OR a.backend_xid IS NOT NULL AS holds_vacuum,
        EXISTS (SELECT FROM pg_locks k
            WHERE k.pid = a.pid AND k.locktype = 'relation'
                AND k.relation IN (SELECT relid FROM pg_partition_tree('outbox.event'))) AS locks_event,
        format('SELECT pg_terminate_backend(%s);', a.pid) AS way_out
    FROM pg_stat_activity a
    WHERE a.datname = current_database() AND a.backend_type = 'client backend' AND a.pid <> pg_backend_pid()
        AND a.xact_start < clock_timestamp() - $1::integer * interval '1 second'
    UNION ALL
    SELECT format('prepared transaction %L (role %s)', gid, owner), prepared, true, false,
        format('ROLLBACK PREPARED %L; or COMMIT PREPARED %L;', gid, gid)
    FROM pg_prepared_xacts
    WHERE database = current_database() AND prepared < clock_timestamp() - $1::integer * interval '1 second'
) AS open
WHERE holds_vacuum OR locks_event
ORDER BY began LIMIT 3
