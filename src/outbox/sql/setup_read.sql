-- Pins the plans of the session that reads (README.md says why each), and gives every look a deadline.
SET search_path = pg_catalog;
-- The server, too, gives up a connection whose other side is gone, and with it snapshot and locks.
SET tcp_keepalives_idle = 10;
SET tcp_keepalives_interval = 5;
SET tcp_keepalives_count = 3;
SET tcp_user_timeout = 20000;
SET jit = off;
SET plan_cache_mode = force_generic_plan;
SET enable_indexscan = on;
SET enable_indexonlyscan = on;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
SET max_parallel_workers_per_gather = 0;
SET row_security = off;
SET default_transaction_isolation = 'read committed';
SET statement_timeout = :timeout_ms;
SELECT pg_backend_pid()
