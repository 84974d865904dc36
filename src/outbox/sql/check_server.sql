-- What the server says of itself, of the tables and of our grants. Only catalogs: nothing else need be there.
WITH t AS (
    SELECT c.relname, c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'outbox' AND c.relkind IN ('r', 'p') AND c.relname IN ('event', 'migration', 'relay', 'lane')
), wanted(relname, privilege) AS (
    VALUES ('event', 'SELECT'), ('migration', 'SELECT'), ('relay', 'SELECT'), ('relay', 'UPDATE'), ('lane', 'SELECT'),
        ('lane', 'UPDATE')
)
SELECT pg_is_in_recovery() AS in_recovery,
    (SELECT count(*) FROM t) = 4 AS has_tables,
    quote_ident(current_user) AS role,
    current_database() AS database,
    coalesce(has_schema_privilege((SELECT oid FROM pg_namespace WHERE nspname = 'outbox'), 'USAGE'), true) AS has_usage,
    (SELECT string_agg(format('GRANT %s ON outbox.%s TO %I;', w.privilege, w.relname, current_user), ' '
            ORDER BY w.relname, w.privilege)
        FROM t JOIN wanted w USING (relname)
        WHERE NOT CASE w.privilege WHEN 'UPDATE' THEN has_any_column_privilege(t.oid, 'UPDATE')
            ELSE has_table_privilege(t.oid, 'SELECT') END) AS grants,
    coalesce((SELECT row_security_active(oid) FROM t WHERE relname = 'event'), false) AS row_security,
    (SELECT format('ALTER SEQUENCE %s CACHE 1;', s.seqrelid::regclass) FROM pg_sequence s
        JOIN pg_depend d ON d.objid = s.seqrelid AND d.classid = 'pg_class'::regclass AND d.deptype IN ('i', 'a')
        JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid AND a.attname = 'id'
        WHERE d.refobjid = (SELECT oid FROM t WHERE relname = 'event') AND s.seqcache > 1 LIMIT 1) AS sequence,
    (SELECT system_identifier::text FROM pg_control_system()) AS system_identifier,
    coalesce((SELECT tgnargs FROM pg_trigger
        WHERE tgrelid = (SELECT oid FROM t WHERE relname = 'event') AND tgname = 'event_ring' AND tgenabled <> 'D'), 0) AS bells
