-- A session that only looks. The plans must not depend on statistics; the first question is planned with its values, every
-- time, because LIMIT counts for it. A deadline for a server in distress.
SET search_path = pg_catalog;
SET tcp_keepalives_idle = 10;
SET tcp_keepalives_interval = 5;
SET tcp_keepalives_count = 3;
SET tcp_user_timeout = 20000;
SET jit = off;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
SET plan_cache_mode = force_custom_plan;
SET max_parallel_workers_per_gather = 0;
SET lock_timeout = '1s';
SET statement_timeout = :timeout_ms;
SET default_transaction_read_only = on
