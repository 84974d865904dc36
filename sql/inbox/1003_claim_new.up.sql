-- migrate:up
-- What libinbox needs for batches at speed, and records of failures that a late member cannot take back. Harmless when
-- run again.
SET ROLE inbox_owner;

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
$claim_new$;

-- Records that handling an event failed. To be called after the rollback, in a transaction of its own. An event without an
-- id is known by its place in the topic. Without attempts: one more than recorded. Returns the attempts. An event that has
-- failed for good stays so while the same record of the topic is tried again, by a member that was frozen, say, and does
-- not know; the same event in another record, published again, begins anew.
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
    known_as text := coalesce(event_id::text, topic || '/' || topic_partition || '/' || topic_offset);
    recorded integer;
BEGIN
    PERFORM inbox.check_consumer(consumer);
    IF known_as IS NULL THEN
        RAISE SQLSTATE 'IB005' USING
            MESSAGE = 'inbox: a failure needs the event''s id, or its topic, partition and offset';
    ELSIF attempts < 0 THEN
        RAISE SQLSTATE 'IB005' USING MESSAGE = format('inbox: attempts cannot be %s', attempts);
    END IF;
    INSERT INTO inbox.failure AS f (consumer, event, event_id, state, attempts, error_class, error_text, first_at, last_at,
                                    next_try, topic, topic_partition, topic_offset, dead_letter_topic)
    VALUES (record_failure.consumer, known_as, record_failure.event_id, CASE WHEN failed THEN 'failed' ELSE 'retrying' END,
            coalesce(record_failure.attempts, 1), left(record_failure.error_class, 200),
            left(record_failure.error_text, 4000), clock_timestamp(), clock_timestamp(), record_failure.next_try,
            record_failure.topic, record_failure.topic_partition, record_failure.topic_offset,
            record_failure.dead_letter_topic)
    ON CONFLICT ON CONSTRAINT failure_pkey DO UPDATE
    SET state = excluded.state, attempts = coalesce(record_failure.attempts, f.attempts + 1),
        error_class = excluded.error_class, error_text = excluded.error_text, last_at = excluded.last_at,
        next_try = excluded.next_try, topic = excluded.topic, topic_partition = excluded.topic_partition,
        topic_offset = excluded.topic_offset, dead_letter_topic = excluded.dead_letter_topic
    WHERE (f.state = 'failed' AND excluded.state = 'retrying' AND (f.topic, f.topic_partition, f.topic_offset)
           = (excluded.topic, excluded.topic_partition, excluded.topic_offset)) IS NOT TRUE
    RETURNING f.attempts INTO recorded;
    IF recorded IS NULL THEN
        SELECT f.attempts INTO recorded FROM inbox.failure f
        WHERE f.consumer = record_failure.consumer AND f.event = known_as;
    END IF;
    RETURN recorded;
END
$record_failure$;

REVOKE ALL ON FUNCTION inbox.claim_new(text, uuid[], timestamptz, timestamptz, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION inbox.claim_new(text, uuid[], timestamptz, timestamptz, boolean) TO inbox_consumer;

INSERT INTO inbox.migration (version, name) VALUES (1003, 'claim_new') ON CONFLICT (version) DO NOTHING;

RESET ROLE;
