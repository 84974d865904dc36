-- migrate:up
-- A guard for consumers that run somebody else's code (libinbox calls its handler) between the claim and the commit. They
-- set inbox.guard to 'on' for the transaction before they claim, and to 'off' just before their own COMMIT. Any other
-- COMMIT, of the handler say, would leave claims of events that nobody has handled yet: it fails, and nothing takes
-- effect. The price is a look at a setting for each claim: the first one of a guarded transaction queues the check for the
-- commit, and turns the setting to 'armed', so that the others do not.
-- Harmless when run again.
SET ROLE inbox_owner;

CREATE OR REPLACE FUNCTION inbox.refuse_commit() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $refuse_commit$
BEGIN
    IF current_setting('inbox.guard', true) IN ('on', 'armed') THEN
        RAISE SQLSTATE 'IB010' USING
            MESSAGE = 'inbox: only the consumer that made the claims may commit them',
            HINT = 'The handler must not end the transaction that it was called in, nor SET CONSTRAINTS ALL IMMEDIATE.';
    END IF;
    RETURN NULL;
END
$refuse_commit$;
REVOKE ALL ON FUNCTION inbox.refuse_commit() FROM PUBLIC;

DO $trigger$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'inbox.claimed'::regclass AND tgname = 'guard') THEN
        CREATE CONSTRAINT TRIGGER guard AFTER INSERT ON inbox.claimed DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW WHEN (CASE WHEN pg_catalog.current_setting('inbox.guard', true) OPERATOR(pg_catalog.=) 'on'
                THEN pg_catalog.set_config('inbox.guard', 'armed', true) OPERATOR(pg_catalog.=) 'armed' ELSE false END)
            EXECUTE FUNCTION inbox.refuse_commit();
    END IF;
END
$trigger$;

INSERT INTO inbox.migration (version, name) VALUES (1002, 'guard') ON CONFLICT (version) DO NOTHING;

RESET ROLE;
