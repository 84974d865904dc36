-- migrate:down
-- Consumers of libinbox refuse to work without it.
DO $guard$
BEGIN
    IF to_regclass('inbox.claimed') IS NOT NULL THEN
        DROP TRIGGER IF EXISTS guard ON inbox.claimed;
        DELETE FROM inbox.migration WHERE version = 1002;
    END IF;
END
$guard$;
DROP FUNCTION IF EXISTS inbox.refuse_commit();
