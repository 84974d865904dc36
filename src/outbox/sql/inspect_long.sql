-- The three oldest transactions, of those that hold back vacuum in this database for more than $1 seconds, and what ends
-- each. Without pg_read_all_stats only those of our own role can be told, and prepared ones.
SELECT format('%s has been open for %s', name, date_trunc('second', clock_timestamp() - began)) AS what, way_out
FROM (
    SELECT format('the transaction of process %s (role %I, %s, %s)', pid, usename,
            coalesce(nullif(application_name, ''), 'no application name'), state) AS name,
        xact_start AS began,
        format('SELECT pg_terminate_backend(%s);', pid) AS way_out
    FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
        AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)
    UNION ALL
    SELECT format('the prepared transaction %L (role %I)', gid, owner), prepared,
        format('COMMIT PREPARED %L; or ROLLBACK PREPARED %L;', gid, gid)
    FROM pg_prepared_xacts WHERE database = current_database()
) AS open
WHERE began < clock_timestamp() - $1::integer * interval '1 second'
ORDER BY began LIMIT 3
