-- migrate:up
-- The doorbell: an insert wakes a sleeping relay by NOTIFY. Leave this migration out (wakeup: poll) when transactions
-- that write events use PREPARE TRANSACTION, which Postgres refuses after a NOTIFY.
SET ROLE outbox_owner;

-- A relay about to sleep holds the bell's advisory lock; then the shared one is refused here, and we ring. Otherwise we
-- hold the shared lock until our commit, and the relay cannot fall asleep meanwhile: it polls. So nothing is missed,
-- and nobody pays for NOTIFY (which takes a lock of the whole server at commit) while the relay is awake.
-- The arguments are the numbers of the bells. 1868722040 is 0x6f626f78, "obox".
CREATE OR REPLACE FUNCTION outbox.ring() RETURNS trigger
LANGUAGE plpgsql AS $ring$
BEGIN
    FOR i IN 0..TG_NARGS OPERATOR(pg_catalog.-) 1 LOOP
        IF NOT pg_catalog.pg_try_advisory_xact_lock_shared(1868722040, TG_ARGV[i]::pg_catalog.int4) THEN
            NOTIFY outbox;
        END IF;
    END LOOP;
    RETURN NULL;
END
$ring$;

-- Gives the table `bells` doorbells, numbered from 0. Waits for open inserts and blocks new ones meanwhile (as any
-- trigger DDL): set lock_timeout. False: it has them already, and nothing was locked.
CREATE OR REPLACE FUNCTION outbox.set_bells(bells integer) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $set_bells$
DECLARE
    present integer;
    numbers text;
BEGIN
    IF bells IS NULL OR bells NOT BETWEEN 1 AND 4 THEN
        RAISE invalid_parameter_value USING MESSAGE = 'bells must be 1 to 4';
    END IF;
    SELECT t.tgnargs INTO present FROM pg_trigger t
    WHERE t.tgrelid = 'outbox.event'::regclass AND t.tgname = 'event_ring';
    IF present = bells THEN
        RETURN false;
    END IF;
    IF present IS NOT NULL THEN
        DROP TRIGGER event_ring ON outbox.event;
    END IF;
    SELECT string_agg(quote_literal(n), ', ' ORDER BY n) INTO numbers FROM generate_series(0, bells - 1) n;
    EXECUTE format('CREATE TRIGGER event_ring AFTER INSERT ON outbox.event'
        ' FOR EACH STATEMENT EXECUTE FUNCTION outbox.ring(%s)', numbers);
    RETURN true;
END
$set_bells$;

REVOKE ALL ON FUNCTION outbox.ring(), outbox.set_bells(integer) FROM PUBLIC;

DO $doorbell$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'outbox.event'::regclass AND tgname = 'event_ring') THEN
        PERFORM outbox.set_bells(1);
    END IF;
END
$doorbell$;

INSERT INTO outbox.migration (version, name) VALUES (2, 'doorbell') ON CONFLICT (version) DO NOTHING;

RESET ROLE;
