-- migrate:down
-- Takes the doorbell away; relays must run with wakeup: poll. Waits for open inserts: set lock_timeout.
DROP TRIGGER IF EXISTS event_ring ON outbox.event;
DROP FUNCTION IF EXISTS outbox.set_bells(integer);
DROP FUNCTION IF EXISTS outbox.ring();

DO $record$
BEGIN
    IF to_regclass('outbox.migration') IS NOT NULL THEN
        DELETE FROM outbox.migration WHERE version = 2;
    END IF;
END
$record$;
