-- The session of the doorbell holds an advisory lock while we sleep: it must not outlive a stopped relay.
SET search_path = pg_catalog;
-- The server, too, gives up a connection whose other side is gone, and with it snapshot and locks.
SET tcp_keepalives_idle = 10;
SET tcp_keepalives_interval = 5;
SET tcp_keepalives_count = 3;
SET tcp_user_timeout = 20000;
SET statement_timeout = :timeout_ms;
:idle
LISTEN outbox
