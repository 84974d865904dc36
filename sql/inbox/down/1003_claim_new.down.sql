-- migrate:down
-- Consumers of libinbox refuse to work without it. inbox.record_failure keeps its newer text, which needs nothing else.
DROP FUNCTION IF EXISTS inbox.claim_new(text, uuid[], timestamptz, timestamptz, boolean);
DO $migration$
BEGIN
    IF to_regclass('inbox.migration') IS NOT NULL THEN
        DELETE FROM inbox.migration WHERE version = 1003;
    END IF;
END
$migration$;
