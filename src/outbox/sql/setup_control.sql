-- Checkpoints need not be on disk: losing the newest one only means duplicates. What must be says so itself.
SET search_path = pg_catalog;
SET jit = off;
SET row_security = off;
SET default_transaction_isolation = 'read committed';
SET synchronous_commit = off;
SET statement_timeout = :timeout_ms
