-- Lanes of the relay beside the main one; how long the oldest transaction is open that holds back vacuum in this database
-- (NULL: none that we may see); whether those of other roles can be seen; how old the oldest
-- of these lanes is (NULL: there is none).
SELECT (SELECT count(*) FROM outbox.lane l WHERE l.relay = :relay AND l.id > 0),
    extract(epoch FROM clock_timestamp() - least(
        (SELECT min(a.xact_start) FROM pg_stat_activity a
         WHERE a.datname = current_database() AND a.backend_type = 'client backend' AND a.pid <> pg_backend_pid()
             AND (a.backend_xmin IS NOT NULL OR a.backend_xid IS NOT NULL)),
        (SELECT min(p.prepared) FROM pg_prepared_xacts p WHERE p.database = current_database()))),
    pg_has_role('pg_read_all_stats', 'USAGE'),
    (SELECT greatest(0, extract(epoch FROM clock_timestamp() - min(l.made_at))) FROM outbox.lane l
     WHERE l.relay = :relay AND l.id > 0)
