-- One event, taken once: psql -v ON_ERROR_STOP=1 -v event_id=... -v event_time=... -v order_id=... -v amount=... -f consumer.sql
\set QUIET on
\pset format unaligned
\pset tuples_only on
BEGIN;
SELECT inbox.claim('billing', :'event_id', :'event_time') AS first_time \gset
\if :first_time
    INSERT INTO payment (order_id, amount) VALUES (:'order_id', :'amount');
\endif
COMMIT;
\if :first_time
    \echo taken
\else
    \echo seen before
\endif
