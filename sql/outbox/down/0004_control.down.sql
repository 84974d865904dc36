-- migrate:down
-- Takes pausing away (a paused relay publishes again) and the ways to set a position anew that came with it.
DROP FUNCTION IF EXISTS outbox.rebase_keep(text);
DROP FUNCTION IF EXISTS outbox.rebase(text, timestamptz);
DROP FUNCTION IF EXISTS outbox.rebase(text, bigint);
DROP FUNCTION IF EXISTS outbox.first_id_since(timestamptz);
DROP FUNCTION IF EXISTS outbox.resume(text);
DROP FUNCTION IF EXISTS outbox.pause(text, text, text);
ALTER TABLE IF EXISTS outbox.lane DROP COLUMN IF EXISTS published;
ALTER TABLE IF EXISTS outbox.relay DROP COLUMN IF EXISTS pause_reason, DROP COLUMN IF EXISTS paused_by,
    DROP COLUMN IF EXISTS paused_at;

DO $record$
BEGIN
    IF to_regclass('outbox.migration') IS NOT NULL THEN
        DELETE FROM outbox.migration WHERE version = 4;
    END IF;
END
$record$;
