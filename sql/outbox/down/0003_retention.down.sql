-- migrate:down
-- Takes retention away: old days stay from now on. Relays go on without it. Partitions that were detached, and are empty,
-- stay as tables of their own.
DROP FUNCTION IF EXISTS outbox.overdue_days(interval);
DROP FUNCTION IF EXISTS outbox.retire_days(interval);
DROP FUNCTION IF EXISTS outbox.retire_next(interval, text);
DROP FUNCTION IF EXISTS outbox.drop_detached(text);
DROP FUNCTION IF EXISTS outbox.detach_day(text);
DROP FUNCTION IF EXISTS outbox.empty_day(text);
DROP FUNCTION IF EXISTS outbox.due_partitions(interval);
DROP FUNCTION IF EXISTS outbox.held_by(text);
DROP FUNCTION IF EXISTS outbox.has_unseen(text, pg_snapshot);

DO $record$
BEGIN
    IF to_regclass('outbox.migration') IS NOT NULL THEN
        DELETE FROM outbox.migration WHERE version = 3;
    END IF;
END
$record$;
