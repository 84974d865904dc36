-- Pins the plans of the session that reads (README.md says why each), and gives every look a deadline.
SET search_path = pg_catalog;
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
