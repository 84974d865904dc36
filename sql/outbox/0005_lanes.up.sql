-- migrate:up
-- Lanes: what the relay cannot publish now (one key, one partition, one topic) waits in a lane, which reads the same log
-- from a position of its own, and everything else goes on.
SET ROLE outbox_owner;

-- The tables are the relays' own; no writer of events touches them. Asked first, because ALTER TABLE locks even when
-- there is nothing to add.
DO $columns$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_attribute
                   WHERE attrelid = 'outbox.relay'::regclass AND attname = 'last_lane' AND NOT attisdropped) THEN
        ALTER TABLE outbox.relay ADD COLUMN last_lane integer NOT NULL DEFAULT 0;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_attribute
                   WHERE attrelid = 'outbox.lane'::regclass AND attname = 'made_at' AND NOT attisdropped) THEN
        ALTER TABLE outbox.lane
            ADD COLUMN topic text, ADD COLUMN key text, ADD COLUMN partition integer, ADD COLUMN partitions integer,
            ADD COLUMN routes bigint, ADD COLUMN made_at timestamptz DEFAULT now(), ADD COLUMN cause text,
            ADD COLUMN event_id uuid, ADD COLUMN row_id bigint, ADD COLUMN since timestamptz,
            ADD COLUMN asked_at timestamptz, ADD COLUMN asked_by text, ADD COLUMN given_up bigint,
            ADD CONSTRAINT lane_filter_is_whole CHECK (CASE filter
                WHEN 'key' THEN topic IS NOT NULL AND key IS NOT NULL AND routes IS NOT NULL
                WHEN 'partition' THEN topic <> '' AND partition >= 0 AND partition < partitions AND routes IS NOT NULL
                WHEN 'topic' THEN topic <> '' AND routes IS NOT NULL
                ELSE filter IS NULL END IS TRUE);
    END IF;
    IF NOT EXISTS (SELECT FROM pg_attribute
                   WHERE attrelid = 'outbox.dead'::regclass AND attname = 'by_whom' AND NOT attisdropped) THEN
        ALTER TABLE outbox.dead ADD COLUMN lane integer, ADD COLUMN key text, ADD COLUMN dead_letter_topic text,
            ADD COLUMN reason text, ADD COLUMN by_whom text;
    END IF;
    COMMENT ON COLUMN outbox.relay.last_lane IS 'The greatest id that a lane of this relay ever had';
    COMMENT ON COLUMN outbox.lane.topic IS 'Of the messages that the lane covers; empty (by key only): no legal name';
    COMMENT ON COLUMN outbox.lane.routes IS 'Mark of the routes by which it was made; with others it is given up';
    COMMENT ON COLUMN outbox.lane.cause IS 'Why its last try failed, with error; NULL: its events flow, or it was never tried';
    COMMENT ON COLUMN outbox.lane.row_id IS 'Id of its next event, as far as known';
    COMMENT ON COLUMN outbox.lane.asked_at IS 'Since when an operator wants it tried; NULL: nobody asks, or it was heard';
    COMMENT ON COLUMN outbox.lane.given_up IS
        'Of lane 0: id of the event that halted the relay and that an operator gave up; it is passed over';
    COMMENT ON COLUMN outbox.dead.by_whom IS 'Who gave it up; NULL: the relay, by on_error: skip';
END
$columns$;

-- Why the partition must be kept: a relay one of whose lanes has not settled every row of it; NULL: none. Errs on the
-- side of keeping: a lane counts as if it covered all keys, and in the middle of a batch nothing may be beyond last_id.
-- The positions are read before the rows. A lane's key is nobody's business here.
CREATE OR REPLACE FUNCTION outbox.held_by(partition_name text) RETURNS text
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off
AS $held_by$
DECLARE
    lane  record;
    last  bigint;
    there boolean := false;
BEGIN
    FOR lane IN
        SELECT r.name, l.id, l.filter, l.topic, l.partition, l.cause, l.base, l.target, l.last_id,
            r.system_identifier = c.system_identifier AND l.base IS NOT NULL
                AND greatest(pg_snapshot_xmax(l.base), pg_snapshot_xmax(l.target))
                    <= pg_snapshot_xmax(pg_current_snapshot()) AS ours
        FROM outbox.relay r CROSS JOIN pg_control_system() c LEFT JOIN outbox.lane l ON l.relay = r.name
        ORDER BY r.name, l.id
    LOOP
        there := true;
        IF NOT lane.ours THEN
            RETURN format('the position of relay %I is not of this server', lane.name);
        END IF;
        CONTINUE WHEN NOT outbox.has_unseen(partition_name, lane.base);
        IF lane.target IS NOT NULL AND NOT outbox.has_unseen(partition_name, lane.target) THEN
            EXECUTE format('SELECT max(id) FROM ONLY outbox.%I', partition_name) INTO last;
            CONTINUE WHEN last <= lane.last_id;
        END IF;
        IF lane.id = 0 THEN
            RETURN format('relay %I has not published all of it', lane.name);
        END IF;
        RETURN format('lane %s of relay %I (%s%s, %s) waits', lane.id, lane.name,
            CASE lane.filter WHEN 'key' THEN 'a key of ' WHEN 'topic' THEN 'topic '
                ELSE format('partition %s of ', lane.partition) END,
            coalesce(nullif(lane.topic, ''), 'no legal topic'), coalesce(lane.cause, 'catching up'));
    END LOOP;
    RETURN CASE WHEN NOT there THEN 'there is no relay' END;
END
$held_by$;

-- Asks for lanes to be tried now; who leads hears of it with its next renewal. Returns how many were still there.
CREATE OR REPLACE FUNCTION outbox.retry_lanes(relay_name text, lanes integer[], by_whom text DEFAULT NULL)
RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $retry_lanes$
DECLARE
    done integer;
BEGIN
    PERFORM FROM outbox.relay r WHERE r.name = relay_name FOR UPDATE;
    IF NOT FOUND THEN
        RAISE no_data_found USING MESSAGE = format('there is no relay %L', relay_name);
    END IF;
    PERFORM set_config('synchronous_commit', 'on', true);
    UPDATE outbox.lane l
    SET asked_at = clock_timestamp(), asked_by = coalesce(nullif(by_whom, ''), session_user)
    WHERE l.relay = relay_name AND l.id > 0 AND l.id = ANY (lanes);
    GET DIAGNOSTICS done = ROW_COUNT;
    RETURN done;
END
$retry_lanes$;

-- Gives events up: of each lane (0: of the relay itself, which must be halted by it) its next event, which the caller has
-- seen to be row_ids[i]. One that is not the next event any more is left alone. Those that were given up, whose number is
-- returned, stand in outbox.dead, and the epoch is raised once: who leads takes over anew, behind them.
CREATE OR REPLACE FUNCTION outbox.skip_events(relay_name text, lanes integer[], row_ids bigint[], reason text DEFAULT NULL,
                                              by_whom text DEFAULT NULL)
RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off
AS $skip_events$
DECLARE
    mine  outbox.relay;
    lane  outbox.lane;
    event record;
    done  integer := 0;
BEGIN
    SELECT r.* INTO mine FROM outbox.relay r WHERE r.name = relay_name FOR UPDATE;
    IF NOT FOUND THEN
        RAISE no_data_found USING MESSAGE = format('there is no relay %L', relay_name);
    ELSIF cardinality(lanes) <> cardinality(row_ids) THEN
        RAISE invalid_parameter_value USING MESSAGE = 'lanes and row_ids must be of one length';
    END IF;
    PERFORM set_config('synchronous_commit', 'on', true);
    FOR i IN 1..coalesce(array_length(lanes, 1), 0) LOOP
        SELECT l.* INTO lane FROM outbox.lane l WHERE l.relay = relay_name AND l.id = lanes[i];
        CONTINUE WHEN NOT FOUND;
        SELECT e.event_id, coalesce(e.partition_key, e.aggregate_id) AS key, e.id,
            pg_visible_in_snapshot(e.xid, lane.target) AND NOT pg_visible_in_snapshot(e.xid, lane.base)
                AND e.id > lane.last_id AS next
        INTO event FROM outbox.event e WHERE e.id = row_ids[i] LIMIT 1;
        CONTINUE WHEN NOT FOUND;
        IF lane.id > 0 THEN
            CONTINUE WHEN lane.row_id IS DISTINCT FROM event.id OR event.next IS NOT TRUE;
            UPDATE outbox.lane l
            SET last_id = event.id, cause = NULL, error = NULL, event_id = NULL, row_id = NULL, since = NULL, attempts = 0,
                next_try = NULL, asked_at = NULL, asked_by = NULL, stored_at = clock_timestamp()
            WHERE l.relay = relay_name AND l.id = lane.id;
        ELSE
            CONTINUE WHEN NOT mine.trouble_halted OR mine.trouble_row_id IS DISTINCT FROM event.id;
            UPDATE outbox.lane l SET given_up = event.id WHERE l.relay = relay_name AND l.id = 0;
            UPDATE outbox.relay r
            SET trouble_cause = NULL, trouble_text = NULL, trouble_event_id = NULL, trouble_row_id = NULL,
                trouble_topic = NULL, trouble_since = NULL, trouble_attempts = 0, trouble_next_try = NULL,
                trouble_halted = false
            WHERE r.name = relay_name;
        END IF;
        INSERT INTO outbox.dead (relay, row_id, event_id, topic, cause, error, attempts, lane, key, reason, by_whom)
        VALUES (relay_name, event.id, event.event_id,
                CASE WHEN lane.id > 0 THEN nullif(lane.topic, '') ELSE mine.trouble_topic END,
                coalesce(CASE WHEN lane.id > 0 THEN lane.cause ELSE mine.trouble_cause END, 'parked'),
                CASE WHEN lane.id > 0 THEN lane.error ELSE mine.trouble_text END,
                CASE WHEN lane.id > 0 THEN lane.attempts ELSE mine.trouble_attempts END,
                lane.id, event.key, nullif(skip_events.reason, ''), coalesce(nullif(skip_events.by_whom, ''), session_user))
        ON CONFLICT ON CONSTRAINT dead_pkey DO NOTHING;
        SELECT r.* INTO mine FROM outbox.relay r WHERE r.name = relay_name;
        done := done + 1;
    END LOOP;
    IF done > 0 THEN
        UPDATE outbox.relay r SET epoch = r.epoch + 1 WHERE r.name = relay_name;
    END IF;
    RETURN done;
END
$skip_events$;

-- Lanes are made of topics, and topics of routes: when the routes have another mark than those that any lane was made by,
-- all lanes are given up, and the main lane goes back to where the furthest behind of them stood. Events are published
-- again then; none is lost, and none overtakes another of its key. Called by who leads, in the transaction of its
-- takeover. False: there was nothing to do.
--
-- Positions of one relay are ordered by their bases (a later snapshot shows all that an earlier one does, and its xmax is
-- greater, or as great and fewer were running). Where everybody who has not left the earliest base is in one and the same
-- batch, and the others are behind its end, the batch is kept, from its smallest last_id on: so that a relay which was
-- moved to an id (rebase) does not begin before it.
CREATE OR REPLACE FUNCTION outbox.fold_lanes(relay_name text, mark bigint) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $fold_lanes$
DECLARE
    earliest outbox.lane;
    kept     boolean;
    settled  bigint;
BEGIN
    PERFORM FROM outbox.relay r WHERE r.name = relay_name FOR UPDATE;
    IF NOT EXISTS (SELECT FROM outbox.lane l
                   WHERE l.relay = relay_name AND l.id > 0 AND l.routes IS DISTINCT FROM mark) THEN
        RETURN false;
    END IF;
    SELECT l.* INTO earliest FROM outbox.lane l WHERE l.relay = relay_name
    ORDER BY pg_snapshot_xmax(l.base), (SELECT count(*) FROM pg_snapshot_xip(l.base)) DESC, l.last_id LIMIT 1;
    SELECT earliest.target IS NOT NULL
            AND bool_and(CASE WHEN l.base::text = earliest.base::text THEN l.target::text = earliest.target::text
                              ELSE pg_snapshot_xmax(l.base) > pg_snapshot_xmax(earliest.target)
                                   OR l.base::text = earliest.target::text END) IS TRUE,
        min(l.last_id) FILTER (WHERE l.base::text = earliest.base::text)
    INTO kept, settled FROM outbox.lane l WHERE l.relay = relay_name;
    UPDATE outbox.lane m
    SET base = earliest.base, target = CASE WHEN kept THEN earliest.target END, last_id = CASE WHEN kept THEN settled ELSE 0 END,
        published = (SELECT sum(l.published) FROM outbox.lane l WHERE l.relay = relay_name), stored_at = clock_timestamp()
    WHERE m.relay = relay_name AND m.id = 0;
    DELETE FROM outbox.lane l WHERE l.relay = relay_name AND l.id > 0;
    RETURN true;
END
$fold_lanes$;

REVOKE ALL ON FUNCTION outbox.retry_lanes(text, integer[], text), outbox.skip_events(text, integer[], bigint[], text, text),
    outbox.fold_lanes(text, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION outbox.retry_lanes(text, integer[], text),
    outbox.skip_events(text, integer[], bigint[], text, text), outbox.fold_lanes(text, bigint) TO outbox_relay;

INSERT INTO outbox.migration (version, name) VALUES (5, 'lanes') ON CONFLICT (version) DO NOTHING;

RESET ROLE;
