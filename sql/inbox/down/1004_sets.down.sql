-- migrate:down
-- Every claim has an entry in the index by time again, for whose making claims wait; the functions have the text of 1003.
DO $migration$
BEGIN
    IF to_regclass('inbox.claimed_set') IS NULL THEN
        RETURN;
    END IF;
    DROP FUNCTION inbox.purge_sets(inbox.consumer, timestamptz, integer);
    CREATE INDEX claimed_by_time ON inbox.claimed (consumer, claimed_at);
    ALTER TABLE inbox.claimed DROP COLUMN alone; -- and with it alone_by_time
    ALTER TABLE inbox.consumer DROP COLUMN purge_sets_from;
    COMMENT ON COLUMN inbox.consumer.purge_from IS 'Where the present pass of purge goes on; -infinity between passes';
    DROP TABLE inbox.claimed_set;
    DELETE FROM inbox.migration WHERE version = 1004;

    EXECUTE $text$
CREATE OR REPLACE FUNCTION inbox.claim_new(
    consumer   text,
    event_ids  uuid[],
    oldest     timestamptz DEFAULT NULL,
    newest     timestamptz DEFAULT NULL,
    accept_old boolean DEFAULT false
) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $claim_new$
DECLARE
    started timestamptz := clock_timestamp();
BEGIN
    PERFORM inbox.check_consumer(consumer);
    -- A claim is as late as its event: such a batch needs a time for each.
    IF newest > started OR cardinality(event_ids) IS NULL OR array_position(event_ids, NULL) IS NOT NULL THEN
        RETURN false;
    END IF;
    BEGIN
        INSERT INTO inbox.claimed (consumer, event_id, claimed_at)
        SELECT claim_new.consumer, u.id, started FROM unnest(event_ids) AS u (id) ORDER BY u.id;
        IF oldest < started - interval '10 minutes' AND accept_old IS NOT TRUE AND oldest <= inbox.horizon(consumer) THEN
            RAISE SQLSTATE 'IB003'; -- takes the claims back
        END IF;
    EXCEPTION
        WHEN unique_violation OR SQLSTATE 'IB003' THEN
            RETURN false;
    END;
    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    RETURN true;
END
$claim_new$
$text$;

    EXECUTE $text$
CREATE OR REPLACE FUNCTION inbox.purge_consumer(consumer text, keep interval, batch integer) RETURNS integer
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $purge_consumer$
DECLARE
    mine   inbox.consumer;
    cutoff timestamptz;
    gone   integer;
    newest timestamptz;
BEGIN
    IF NOT pg_try_advisory_xact_lock(1768841848, hashtext(consumer)) THEN
        RETURN 0;
    END IF;
    INSERT INTO inbox.consumer (name) VALUES (purge_consumer.consumer) ON CONFLICT DO NOTHING;
    SELECT * INTO mine FROM inbox.consumer c WHERE c.name = purge_consumer.consumer FOR UPDATE;
    cutoff := clock_timestamp() - make_interval(secs => date_part('epoch', greatest(mine.dedup_window, keep)));

    WITH deleted AS (
        DELETE FROM inbox.claimed c
        WHERE c.ctid = ANY (ARRAY(SELECT o.ctid FROM inbox.claimed o
                                  WHERE o.consumer = mine.name AND o.claimed_at >= mine.purge_from AND o.claimed_at < cutoff
                                  ORDER BY o.claimed_at LIMIT batch))
        RETURNING c.claimed_at
    )
    SELECT count(*), max(d.claimed_at) INTO gone, newest FROM deleted d;
    IF gone > 0 OR mine.purge_from > '-infinity' THEN
        UPDATE inbox.consumer c
        SET forgotten_until = greatest(c.forgotten_until, newest),
            purge_from = CASE WHEN gone < batch THEN '-infinity' ELSE newest END
        WHERE c.name = mine.name;
    END IF;
    IF gone = 0 THEN
        DELETE FROM inbox.failure f
        WHERE f.ctid = ANY (ARRAY(SELECT o.ctid FROM inbox.failure o
                                  WHERE o.consumer = mine.name AND o.last_at < cutoff ORDER BY o.last_at LIMIT batch));
        GET DIAGNOSTICS gone = ROW_COUNT;
    END IF;
    RETURN gone;
END
$purge_consumer$
$text$;

    EXECUTE $text$
CREATE OR REPLACE FUNCTION inbox.purge(
    keep     interval DEFAULT NULL,
    batch    integer DEFAULT 1000,
    consumer text DEFAULT NULL
) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $purge$
DECLARE
    next text;
    gone integer := 0;
BEGIN
    IF (batch BETWEEN 1 AND 100000) IS NOT TRUE THEN
        RAISE SQLSTATE 'IB005' USING
            MESSAGE = format('inbox: batch must be 1 to 100000, not %s', coalesce(batch::text, 'null'));
    ELSIF keep > interval '100 years' THEN
        RAISE SQLSTATE 'IB005' USING MESSAGE = format('inbox: keep cannot be more than 100 years, as %s is', keep);
    ELSIF consumer IS NOT NULL THEN
        PERFORM inbox.check_consumer(consumer);
        RETURN inbox.purge_consumer(consumer, keep, batch);
    END IF;

    -- First who is in the middle of a pass, then all, from name to name along the keys.
    FOR next IN SELECT c.name FROM inbox.consumer c WHERE c.purge_from > '-infinity' LOOP
        gone := inbox.purge_consumer(next, keep, batch);
        IF gone > 0 THEN
            RETURN gone;
        END IF;
    END LOOP;
    next := '';
    LOOP
        next := least((SELECT min(c.consumer) FROM inbox.claimed c WHERE c.consumer > next),
                      (SELECT min(f.consumer) FROM inbox.failure f WHERE f.consumer > next));
        EXIT WHEN next IS NULL;
        gone := inbox.purge_consumer(next, keep, batch);
        EXIT WHEN gone > 0;
    END LOOP;
    RETURN gone;
END
$purge$
$text$;
END
$migration$;
