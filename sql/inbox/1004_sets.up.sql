-- migrate:up
-- Claims that are made together are kept together for purge: one row for the set, in place of an entry in the index by time
-- for each of its claims, which was a quarter of a claim's price. Harmless when run again. The first time, claims wait while
-- an index is built: some 2 s for a million that are kept.
SET ROLE inbox_owner;

DO $tables$
BEGIN
    IF to_regclass('inbox.claimed_set') IS NOT NULL THEN
        RETURN;
    END IF;
    -- The claims of one call of claim_new: purge finds them by these ids when the set's time has come. Ids do not compress:
    -- a row stays as it is up to a page, about 500 ids.
    CREATE TABLE inbox.claimed_set (
        consumer   text COLLATE "C" NOT NULL,
        claimed_at timestamptz NOT NULL,
        event_ids  uuid[] NOT NULL
    ) WITH (toast_tuple_target = 8160, vacuum_truncate = false, autovacuum_vacuum_scale_factor = 0.05,
            autovacuum_analyze_scale_factor = 0.05);
    ALTER TABLE inbox.claimed_set ALTER COLUMN event_ids SET STORAGE EXTERNAL;
    CREATE INDEX claimed_set_by_time ON inbox.claimed_set (consumer, claimed_at);

    ALTER TABLE inbox.claimed ADD COLUMN alone boolean DEFAULT true; -- also of what is there; rows are not rewritten
    CREATE INDEX alone_by_time ON inbox.claimed (consumer, claimed_at) WHERE alone;
    DROP INDEX inbox.claimed_by_time;
    ALTER TABLE inbox.consumer ADD COLUMN purge_sets_from timestamptz NOT NULL DEFAULT '-infinity';

    COMMENT ON TABLE inbox.claimed_set IS 'What was claimed in one call: purge takes it away as one';
    COMMENT ON COLUMN inbox.claimed.alone IS 'Known to purge by its own time; null: by its set';
    COMMENT ON COLUMN inbox.consumer.purge_from IS
        'Where the present pass of purge goes on among claims that stand alone; -infinity between passes';
    COMMENT ON COLUMN inbox.consumer.purge_sets_from IS 'The same among sets';
END
$tables$;

-- Claims many events at once when all of them are new and none needs a look at its time: true, and all are claimed; false,
-- and nothing is: ask inbox.claim_all, which answers for each. Most batches of a consumer are like that, and it costs half
-- of claim_all: no array of times to read, no row looked up before it is inserted, no answers put together. oldest and
-- newest are the least and the greatest of the events' times, null when none has one. In sorted order, as claim_all; who
-- meets another's claim waits for its end. The window is looked at after the insert, as in claim.
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
    few     boolean := CASE WHEN cardinality(event_ids) < 8 THEN true END; -- a set costs as much as a few
BEGIN
    PERFORM inbox.check_consumer(consumer);
    -- A claim is as late as its event: such a batch needs a time for each.
    IF newest > started OR cardinality(event_ids) IS NULL OR array_position(event_ids, NULL) IS NOT NULL THEN
        RETURN false;
    END IF;
    BEGIN
        INSERT INTO inbox.claimed (consumer, event_id, claimed_at, alone)
        SELECT claim_new.consumer, u.id, started, few FROM (SELECT unnest(event_ids) AS id) u ORDER BY u.id;
        IF few IS NULL THEN
            INSERT INTO inbox.claimed_set (consumer, claimed_at, event_ids)
            VALUES (claim_new.consumer, started, claim_new.event_ids);
        END IF;
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
$claim_new$;

-- Takes away sets of one consumer from before the cutoff, the oldest first, as many as hold `batch` claims; the last one whole.
-- Sets whose claims somebody took away by hand count as one claim, so that 0 means the end.
CREATE OR REPLACE FUNCTION inbox.purge_sets(mine inbox.consumer, cutoff timestamptz, batch integer) RETURNS integer
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $purge_sets$
DECLARE
    old    record;
    seen   integer := 0;
    gone   integer := 0;
    n      integer;
    newest timestamptz;
BEGIN
    FOR old IN SELECT s.ctid AS place, s.claimed_at, s.event_ids FROM inbox.claimed_set s
               WHERE s.consumer = mine.name AND s.claimed_at >= mine.purge_sets_from AND s.claimed_at < cutoff
               ORDER BY s.claimed_at LOOP
        -- One that was taken away by hand and came again has another time.
        DELETE FROM inbox.claimed c
        WHERE c.event_id = ANY (old.event_ids) AND c.consumer = mine.name AND c.claimed_at = old.claimed_at;
        GET DIAGNOSTICS n = ROW_COUNT;
        DELETE FROM inbox.claimed_set s WHERE s.ctid = old.place;
        gone := gone + n;
        seen := seen + cardinality(old.event_ids);
        newest := old.claimed_at;
        EXIT WHEN seen >= batch;
    END LOOP;
    IF seen > 0 OR mine.purge_sets_from > '-infinity' THEN
        UPDATE inbox.consumer c
        SET forgotten_until = greatest(c.forgotten_until, newest),
            purge_sets_from = CASE WHEN seen < batch THEN '-infinity' ELSE newest END
        WHERE c.name = mine.name;
    END IF;
    RETURN CASE WHEN seen > 0 THEN greatest(gone, 1) ELSE 0 END;
END
$purge_sets$;
REVOKE ALL ON FUNCTION inbox.purge_sets(inbox.consumer, timestamptz, integer) FROM PUBLIC;

-- One batch of one consumer: takes away the oldest claims beyond its window, first those that stand alone, then sets, else
-- the oldest failures. A pass goes up along
-- the time, from batch to batch, so that it does not meet again what it has deleted and vacuum could not remove yet.
-- Somebody else at the same consumer: 0. The advisory lock tells, because a row that is not committed yet could not.
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
                                  WHERE o.consumer = mine.name AND o.alone AND o.claimed_at >= mine.purge_from
                                        AND o.claimed_at < cutoff
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
        gone := inbox.purge_sets(mine, cutoff, batch);
    END IF;
    IF gone = 0 THEN
        DELETE FROM inbox.failure f
        WHERE f.ctid = ANY (ARRAY(SELECT o.ctid FROM inbox.failure o
                                  WHERE o.consumer = mine.name AND o.last_at < cutoff ORDER BY o.last_at LIMIT batch));
        GET DIAGNOSTICS gone = ROW_COUNT;
    END IF;
    RETURN gone;
END
$purge_consumer$;

-- Takes away one batch of what lies beyond the window; keep can only make the window longer. Returns how many rows went: call
-- it again, each time in a transaction of its own, until that is 0. Claims do not wait for it, nor it for them.
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
    FOR next IN SELECT c.name FROM inbox.consumer c
                WHERE c.purge_from > '-infinity' OR c.purge_sets_from > '-infinity' LOOP
        gone := inbox.purge_consumer(next, keep, batch);
        IF gone > 0 THEN
            RETURN gone;
        END IF;
    END LOOP;
    next := '';
    LOOP
        next := least((SELECT min(c.consumer) FROM inbox.claimed c WHERE c.alone AND c.consumer > next),
                      (SELECT min(s.consumer) FROM inbox.claimed_set s WHERE s.consumer > next),
                      (SELECT min(f.consumer) FROM inbox.failure f WHERE f.consumer > next));
        EXIT WHEN next IS NULL;
        gone := inbox.purge_consumer(next, keep, batch);
        EXIT WHEN gone > 0;
    END LOOP;
    RETURN gone;
END
$purge$;

INSERT INTO inbox.migration (version, name) VALUES (1004, 'sets') ON CONFLICT (version) DO NOTHING;

RESET ROLE;
