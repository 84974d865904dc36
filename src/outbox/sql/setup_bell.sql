-- The session of the doorbell holds an advisory lock while we sleep: it must not outlive a stopped relay.
SET search_path = pg_catalog;
SET statement_timeout = :timeout_ms;
:idle
LISTEN outbox
