-- Tells servers apart, also a primary and its standby: no two were started in the same microsecond.
SELECT pg_catalog.pg_postmaster_start_time()
