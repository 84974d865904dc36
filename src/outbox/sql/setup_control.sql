-- Checkpoints need not be on disk: losing the newest one only means duplicates. What must be says so itself.
SET search_path = pg_catalog;
-- The server, too, gives up a connection whose other side is gone, and with it snapshot and locks.
SET tcp_keepalives_idle = 10;
SET tcp_keepalives_interval = 5;
SET tcp_keepalives_count = 3;
SET tcp_user_timeout = 20000;
SET jit = off;
SET row_security = off;
SET default_transaction_isolation = 'read committed';
SET synchronous_commit = off;
SET statement_timeout = :timeout_ms
