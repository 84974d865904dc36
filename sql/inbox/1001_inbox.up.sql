-- migrate:up
-- Schema inbox: which consumer has taken which event, so that each takes effect once. Plain SQL for PostgreSQL 13 and
-- later, independent of schema outbox, and harmless when run again: what exists is not touched. Everything belongs to the
-- role inbox_owner. Run it as a superuser, or as a role that may create roles and schemas.

-- Roles belong to the whole server and are shared by its databases: created when absent, never dropped.
DO $roles$
DECLARE
    role text;
    ways text := CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END;
BEGIN
    FOREACH role IN ARRAY ARRAY['inbox_owner', 'inbox_consumer'] LOOP
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
                EXECUTE format('CREATE ROLE %I NOLOGIN', role);
            END IF;
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN
                NULL; -- another database's migration was quicker
            WHEN insufficient_privilege THEN
                RAISE insufficient_privilege USING
                    MESSAGE = format('role %s is missing, and %s may not create it', role, current_user),
                    HINT = format('As a superuser: CREATE ROLE inbox_owner NOLOGIN; CREATE ROLE inbox_consumer NOLOGIN;'
                        ' GRANT inbox_owner TO %I;', current_user);
        END;
    END LOOP;
    IF NOT pg_has_role(current_user, 'inbox_owner', ways) THEN
        BEGIN
            EXECUTE format('GRANT inbox_owner TO %I', current_user);
        EXCEPTION
            WHEN insufficient_privilege THEN
                RAISE insufficient_privilege USING
                    MESSAGE = format('%s is not a member of inbox_owner', current_user),
                    HINT = format('As a superuser: GRANT inbox_owner TO %I;', current_user);
        END;
    END IF;
    IF to_regnamespace('inbox') IS NULL THEN
        CREATE SCHEMA inbox AUTHORIZATION inbox_owner;
    END IF;
END
$roles$;

SET ROLE inbox_owner;

CREATE TABLE IF NOT EXISTS inbox.migration (
    version    integer PRIMARY KEY,
    name       text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);

DO $tables$
BEGIN
    IF to_regclass('inbox.claimed') IS NOT NULL OR to_regclass('inbox.consumer') IS NOT NULL THEN
        IF NOT EXISTS (SELECT FROM inbox.migration WHERE version = 1001) THEN
            RAISE duplicate_table USING
                MESSAGE = 'a table inbox.claimed or inbox.consumer exists that outboxd did not make',
                HINT = 'Rename it or move it to another schema, then run this again.';
        END IF;
        RETURN;
    END IF;

    -- One row for each event that a consumer has taken, inserted in the transaction of its effects. Not partitioned by
    -- time: the key would have to hold the time, and midnight would claim twice. The id comes first in the key because it
    -- tells rows apart at once. "C" compares fastest, and an index in it outlives a new libc. Truncating locks claims out,
    -- hence no vacuum_truncate.
    CREATE TABLE inbox.claimed (
        consumer   text COLLATE "C" NOT NULL,
        event_id   uuid NOT NULL,
        claimed_at timestamptz NOT NULL,
        PRIMARY KEY (event_id, consumer)
    ) WITH (vacuum_truncate = false, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);

    -- For purge. Claims are made in the order of time, so that its end is the only place that they touch.
    CREATE INDEX claimed_by_time ON inbox.claimed (consumer, claimed_at);

    -- What differs from the default, and where purge stands. A consumer without a row has the default window: claims write
    -- nothing here, so that none waits for another's end. Purge rewrites it with each batch: room keeps that HOT.
    CREATE TABLE inbox.consumer (
        name            text COLLATE "C" PRIMARY KEY,
        dedup_window    interval NOT NULL DEFAULT '30 days',
        created_at      timestamptz NOT NULL DEFAULT now(),
        forgotten_until timestamptz NOT NULL DEFAULT '-infinity',
        purge_from      timestamptz NOT NULL DEFAULT '-infinity',
        CONSTRAINT consumer_dedup_window CHECK (dedup_window BETWEEN interval '1 hour' AND interval '100 years')
    ) WITH (fillfactor = 20, vacuum_truncate = false, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);

    -- Events whose handler failed, written outside its transaction. event is the id, or topic/partition/offset when an
    -- event has none.
    CREATE TABLE inbox.failure (
        consumer          text COLLATE "C" NOT NULL,
        event             text COLLATE "C" NOT NULL,
        event_id          uuid,
        state             text NOT NULL CHECK (state IN ('retrying', 'failed')),
        attempts          integer NOT NULL CHECK (attempts >= 0),
        error_class       text,
        error_text        text,
        first_at          timestamptz NOT NULL,
        last_at           timestamptz NOT NULL,
        next_try          timestamptz,
        topic             text,
        topic_partition   integer,
        topic_offset      bigint,
        dead_letter_topic text,
        PRIMARY KEY (consumer, event)
    ) WITH (vacuum_truncate = false);
    CREATE INDEX failure_by_time ON inbox.failure (consumer, last_at);
    CREATE INDEX failure_by_id ON inbox.failure (consumer, event_id);

    CREATE VIEW inbox.state AS
    SELECT c.consumer, c.event_id, c.event_id::text AS event, 'completed' AS state, c.claimed_at AS since,
           NULL::integer AS attempts, NULL::text AS error_class, NULL::text AS error_text, NULL::timestamptz AS last_at,
           NULL::timestamptz AS next_try, NULL::text AS topic, NULL::integer AS topic_partition,
           NULL::bigint AS topic_offset, NULL::text AS dead_letter_topic
    FROM inbox.claimed c
    UNION ALL
    SELECT f.consumer, f.event_id, f.event, f.state, f.first_at, f.attempts, f.error_class, f.error_text, f.last_at,
           f.next_try, f.topic, f.topic_partition, f.topic_offset, f.dead_letter_topic
    FROM inbox.failure f
    WHERE NOT EXISTS (SELECT FROM inbox.claimed c WHERE c.consumer = f.consumer AND c.event_id = f.event_id);

    COMMENT ON TABLE inbox.claimed IS 'Events that a consumer has taken; kept for its window';
    COMMENT ON COLUMN inbox.claimed.claimed_at IS 'When it was claimed, or the event''s own time where that is later';
    COMMENT ON COLUMN inbox.consumer.dedup_window IS 'Longer than the topic''s retention. Older events are refused';
    COMMENT ON COLUMN inbox.consumer.forgotten_until IS 'Claims up to this time may have been purged';
    COMMENT ON COLUMN inbox.consumer.purge_from IS 'Where the present pass of purge goes on; -infinity between passes';
    COMMENT ON VIEW inbox.state IS 'completed, retrying or failed, for each event that is known';
END
$tables$;

-- Says what is wrong with a consumer's name; nothing when all is well.
CREATE OR REPLACE FUNCTION inbox.check_consumer(consumer text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $check_consumer$
BEGIN
    IF consumer IS NULL OR consumer = '' THEN
        RAISE SQLSTATE 'IB001' USING MESSAGE = 'inbox: the name of the consumer is missing';
    ELSIF octet_length(consumer) > 200 THEN
        RAISE SQLSTATE 'IB001' USING
            MESSAGE = format('inbox: the name of the consumer has %s bytes, at most 200 are allowed', octet_length(consumer));
    END IF;
END
$check_consumer$;

-- A first claim of an event of this time or earlier may be a repetition whose claim is forgotten. The window counts in
-- hours of 3600 seconds, whatever time zone the session has. What purge took away stays forgotten when a window is made
-- longer or a clock is set back. Called by the functions below, hence under their search_path.
CREATE OR REPLACE FUNCTION inbox.horizon(consumer text) RETURNS timestamptz
LANGUAGE plpgsql VOLATILE AS $horizon$
DECLARE
    kept      interval := interval '30 days';
    forgotten timestamptz;
BEGIN
    SELECT c.dedup_window, c.forgotten_until INTO kept, forgotten FROM inbox.consumer c WHERE c.name = consumer;
    RETURN greatest(clock_timestamp() - make_interval(secs => date_part('epoch', coalesce(kept, interval '30 days'))),
                    forgotten);
END
$horizon$;

-- Claims an event for a consumer in the caller's transaction. True: it is the first time, do the work. False: it was done
-- before. A second claimant waits for the first one's commit or rollback. The age is looked at after the insert, so that
-- a purge of the same moment cannot slip in between: who does not meet the old claim meets its purge. The shortest window
-- is an hour: younger events than ten minutes need no look at it.
CREATE OR REPLACE FUNCTION inbox.claim(
    consumer   text,
    event_id   uuid,
    event_time timestamptz DEFAULT NULL,
    accept_old boolean DEFAULT false
) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $claim$
DECLARE
    started timestamptz := clock_timestamp();
BEGIN
    IF event_id IS NULL THEN
        RAISE SQLSTATE 'IB002' USING MESSAGE = 'inbox: the event id is null';
    ELSIF (octet_length(consumer) BETWEEN 1 AND 200) IS NOT TRUE THEN
        PERFORM inbox.check_consumer(consumer);
    END IF;

    INSERT INTO inbox.claimed (consumer, event_id, claimed_at)
    VALUES (claim.consumer, claim.event_id, greatest(started, claim.event_time))
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN false;
    END IF;

    IF event_time < started - interval '10 minutes' AND accept_old IS NOT TRUE
       AND event_time <= inbox.horizon(consumer) THEN
        RAISE SQLSTATE 'IB003' USING
            MESSAGE = format('inbox: event %s of %s is older than what consumer %s remembers', event_id, event_time, consumer),
            DETAIL = format('Whether it was taken before is known from %s on.', inbox.horizon(consumer)),
            HINT = 'Put it aside (a dead-letter topic), or claim it with accept_old under a consumer name that never saw it.';
    END IF;
    -- An effect that a crash takes back after its offset was committed would be lost.
    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    RETURN true;
END
$claim$;

-- Claims many events at once, in one statement. The answers stand in the order of the ids: true, the first time; false,
-- seen before, also earlier in this array; NULL, too old and not claimed. In sorted order, so that calls that share
-- events wait for each other and do not deadlock. Nested loops are off: a plan made for few ids would be quadratic.
CREATE OR REPLACE FUNCTION inbox.claim_all(
    consumer    text,
    event_ids   uuid[],
    event_times timestamptz[] DEFAULT NULL,
    accept_old  boolean DEFAULT false
) RETURNS boolean[]
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_nestloop = off AS $claim_all$
DECLARE
    started timestamptz := clock_timestamp();
    oldest  timestamptz;
    horizon timestamptz;
    refused uuid[];
    answers boolean[];
BEGIN
    PERFORM inbox.check_consumer(consumer);
    IF event_ids IS NULL THEN
        RAISE SQLSTATE 'IB002' USING MESSAGE = 'inbox: the array of event ids is null';
    ELSIF array_ndims(event_ids) > 1 OR array_ndims(event_times) > 1
          OR cardinality(event_times) NOT IN (0, cardinality(event_ids)) THEN
        RAISE SQLSTATE 'IB004' USING
            MESSAGE = format('inbox: %s event ids and %s event times', cardinality(event_ids), cardinality(event_times)),
            HINT = 'Give two plain arrays of one length, or no times at all.';
    ELSIF array_position(event_ids, NULL) IS NOT NULL THEN
        RAISE SQLSTATE 'IB002' USING
            MESSAGE = format('inbox: event id number %s of %s is null',
                             array_position(event_ids, NULL) - array_lower(event_ids, 1) + 1, cardinality(event_ids));
    END IF;

    WITH given AS MATERIALIZED (
        SELECT u.id, u.at, u.place, row_number() OVER (PARTITION BY u.id ORDER BY u.place) = 1 AS is_first
        FROM unnest(event_ids, event_times) WITH ORDINALITY AS u (id, at, place)
    ), fresh AS (
        INSERT INTO inbox.claimed (consumer, event_id, claimed_at)
        SELECT claim_all.consumer, g.id, greatest(started, g.at) FROM given g WHERE g.is_first ORDER BY g.id
        ON CONFLICT DO NOTHING
        RETURNING claimed.event_id
    )
    SELECT coalesce(array_agg(g.is_first AND f.event_id IS NOT NULL ORDER BY g.place), '{}')
    INTO answers
    FROM given g LEFT JOIN fresh f ON f.event_id = g.id;

    IF accept_old IS NOT TRUE AND event_times IS NOT NULL THEN
        SELECT min(t) INTO oldest FROM unnest(event_times) t;
        IF oldest < started - interval '10 minutes' THEN
            horizon := inbox.horizon(consumer);
        END IF;
        IF oldest <= horizon THEN
            refused := ARRAY(SELECT u.id FROM unnest(event_ids, event_times) WITH ORDINALITY AS u (id, at, place)
                             WHERE u.at <= horizon AND answers[u.place]);
            DELETE FROM inbox.claimed c WHERE c.consumer = claim_all.consumer AND c.event_id = ANY (refused);
            answers := ARRAY(SELECT CASE WHEN u.id = ANY (refused) THEN NULL ELSE answers[u.place] END
                             FROM unnest(event_ids) WITH ORDINALITY AS u (id, place) ORDER BY u.place);
        END IF;
    END IF;
    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    RETURN answers;
END
$claim_all$;

-- Records that handling an event failed. To be called after the rollback, in a transaction of its own. An event without an
-- id is known by its place in the topic. Without attempts: one more than recorded. Returns the attempts.
CREATE OR REPLACE FUNCTION inbox.record_failure(
    consumer          text,
    event_id          uuid,
    error_class       text,
    error_text        text,
    attempts          integer DEFAULT NULL,
    next_try          timestamptz DEFAULT NULL,
    failed            boolean DEFAULT false,
    topic             text DEFAULT NULL,
    topic_partition   integer DEFAULT NULL,
    topic_offset      bigint DEFAULT NULL,
    dead_letter_topic text DEFAULT NULL
) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $record_failure$
DECLARE
    event    text := coalesce(event_id::text, topic || '/' || topic_partition || '/' || topic_offset);
    recorded integer;
BEGIN
    PERFORM inbox.check_consumer(consumer);
    IF event IS NULL THEN
        RAISE SQLSTATE 'IB005' USING
            MESSAGE = 'inbox: a failure needs the event''s id, or its topic, partition and offset';
    ELSIF attempts < 0 THEN
        RAISE SQLSTATE 'IB005' USING MESSAGE = format('inbox: attempts cannot be %s', attempts);
    END IF;
    INSERT INTO inbox.failure AS f (consumer, event, event_id, state, attempts, error_class, error_text, first_at, last_at,
                                    next_try, topic, topic_partition, topic_offset, dead_letter_topic)
    VALUES (record_failure.consumer, event, record_failure.event_id, CASE WHEN failed THEN 'failed' ELSE 'retrying' END,
            coalesce(record_failure.attempts, 1), left(record_failure.error_class, 200),
            left(record_failure.error_text, 4000), clock_timestamp(), clock_timestamp(), record_failure.next_try,
            record_failure.topic, record_failure.topic_partition, record_failure.topic_offset,
            record_failure.dead_letter_topic)
    ON CONFLICT ON CONSTRAINT failure_pkey DO UPDATE
    SET state = excluded.state, attempts = coalesce(record_failure.attempts, f.attempts + 1),
        error_class = excluded.error_class, error_text = excluded.error_text, last_at = excluded.last_at,
        next_try = excluded.next_try, topic = excluded.topic, topic_partition = excluded.topic_partition,
        topic_offset = excluded.topic_offset, dead_letter_topic = excluded.dead_letter_topic
    RETURNING f.attempts INTO recorded;
    RETURN recorded;
END
$record_failure$;

-- Forgets the failures of events. In the handler's transaction: the record goes when the effect comes. Returns how many.
CREATE OR REPLACE FUNCTION inbox.clear_failure(consumer text, event_ids uuid[]) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $clear_failure$
DECLARE
    cleared integer;
BEGIN
    PERFORM inbox.check_consumer(consumer);
    DELETE FROM inbox.failure f
    WHERE f.consumer = clear_failure.consumer AND f.event = ANY (event_ids::text[]);
    GET DIAGNOSTICS cleared = ROW_COUNT;
    RETURN cleared;
END
$clear_failure$;

-- How long a consumer remembers what it has taken. Longer than its topics keep events, and than any replay reaches back.
CREATE OR REPLACE FUNCTION inbox.set_window(consumer text, dedup_window interval) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $set_window$
BEGIN
    PERFORM inbox.check_consumer(consumer);
    IF (dedup_window BETWEEN interval '1 hour' AND interval '100 years') IS NOT TRUE THEN
        RAISE SQLSTATE 'IB005' USING
            MESSAGE = format('inbox: the window must be 1 hour to 100 years, not %s', coalesce(dedup_window::text, 'null'));
    END IF;
    INSERT INTO inbox.consumer (name, dedup_window) VALUES (set_window.consumer, set_window.dedup_window)
    ON CONFLICT ON CONSTRAINT consumer_pkey DO UPDATE SET dedup_window = excluded.dedup_window;
END
$set_window$;

-- One batch of one consumer: takes away the oldest claims beyond its window, else the oldest failures. A pass goes up along
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
$purge$;

-- All of it, committing after each batch, for people and schedulers: CALL inbox.purge_all(). These commits do not wait for
-- the disk: what is lost is purged again.
CREATE OR REPLACE PROCEDURE inbox.purge_all(keep interval DEFAULT NULL, batch integer DEFAULT 1000)
LANGUAGE plpgsql AS $purge_all$
DECLARE
    gone integer;
BEGIN
    LOOP
        SET LOCAL synchronous_commit = off;
        gone := inbox.purge(keep, batch);
        COMMIT;
        EXIT WHEN gone OPERATOR(pg_catalog.=) 0;
    END LOOP;
END
$purge_all$;

-- The newest migration that the database has, for those who may not read the table.
CREATE OR REPLACE FUNCTION inbox.version() RETURNS integer
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $version$
    SELECT max(m.version) FROM inbox.migration m
$version$;

-- What a consumer may do: call these, and nothing else.
REVOKE ALL ON ALL ROUTINES IN SCHEMA inbox FROM PUBLIC;
GRANT USAGE ON SCHEMA inbox TO inbox_consumer;
GRANT EXECUTE ON FUNCTION inbox.claim(text, uuid, timestamptz, boolean) TO inbox_consumer;
GRANT EXECUTE ON FUNCTION inbox.claim_all(text, uuid[], timestamptz[], boolean) TO inbox_consumer;
GRANT EXECUTE ON FUNCTION inbox.record_failure(text, uuid, text, text, integer, timestamptz, boolean, text, integer,
    bigint, text) TO inbox_consumer;
GRANT EXECUTE ON FUNCTION inbox.clear_failure(text, uuid[]) TO inbox_consumer;
GRANT EXECUTE ON FUNCTION inbox.purge(interval, integer, text) TO inbox_consumer;
GRANT EXECUTE ON PROCEDURE inbox.purge_all(interval, integer) TO inbox_consumer;
GRANT EXECUTE ON FUNCTION inbox.version() TO inbox_consumer;

INSERT INTO inbox.migration (version, name) VALUES (1001, 'inbox') ON CONFLICT (version) DO NOTHING;

RESET ROLE;
