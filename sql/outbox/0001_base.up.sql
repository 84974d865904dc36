-- migrate:up
-- Schema outbox: the event table, the relays' positions, roles and grants. Plain SQL for PostgreSQL 13 and later, and
-- harmless when run again: what exists is not touched, so that a second run takes no lock that a writer could feel.
-- Everything belongs to the role outbox_owner. Run it as a superuser, or as a role that may create roles and schemas.

-- Roles belong to the whole server and are shared by its databases: created when absent, never dropped.
DO $roles$
DECLARE
    role text;
    ways text := CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END;
BEGIN
    FOREACH role IN ARRAY ARRAY['outbox_owner', 'outbox_writer', 'outbox_relay'] LOOP
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
                    HINT = format('As a superuser: CREATE ROLE outbox_owner NOLOGIN; CREATE ROLE outbox_writer NOLOGIN;'
                        ' CREATE ROLE outbox_relay NOLOGIN; GRANT outbox_owner TO %I;', current_user);
        END;
    END LOOP;
    IF NOT pg_has_role(current_user, 'outbox_owner', ways) THEN
        BEGIN
            EXECUTE format('GRANT outbox_owner TO %I', current_user);
        EXCEPTION
            WHEN insufficient_privilege THEN
                RAISE insufficient_privilege USING
                    MESSAGE = format('%s is not a member of outbox_owner', current_user),
                    HINT = format('As a superuser: GRANT outbox_owner TO %I;', current_user);
        END;
    END IF;
    IF to_regnamespace('outbox') IS NULL THEN
        CREATE SCHEMA outbox AUTHORIZATION outbox_owner;
    END IF;
END
$roles$;

SET ROLE outbox_owner;

CREATE TABLE IF NOT EXISTS outbox.migration (
    version    integer PRIMARY KEY,
    name       text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- A UUID of version 7: milliseconds since 1970, their fraction in 12 bits, 62 random bits. Ids made later sort later.
-- One expression, which is also the column's default; all names are qualified, because a function's body is parsed under
-- the caller's search_path.
CREATE OR REPLACE FUNCTION outbox.new_event_id() RETURNS uuid
LANGUAGE sql VOLATILE PARALLEL SAFE AS $new_event_id$
    SELECT (pg_catalog.overlay(
                pg_catalog.lpad(pg_catalog.to_hex((pg_catalog.date_part('epoch', pg_catalog.clock_timestamp())
                    OPERATOR(pg_catalog.*) 4096000::pg_catalog.float8)::pg_catalog.int8), 15, '0'),
                '7', 13, 0)
            OPERATOR(pg_catalog.||) pg_catalog.substr(pg_catalog.gen_random_uuid()::pg_catalog.text, 20)
           )::pg_catalog.uuid
$new_event_id$;

-- A commit that returns before it is on disk can be lost by a crash after its event was published: a ghost. The
-- trigger below calls this only in a transaction that runs with synchronous_commit = off.
CREATE OR REPLACE FUNCTION outbox.commit_durably() RETURNS trigger
LANGUAGE plpgsql AS $commit_durably$
BEGIN
    PERFORM pg_catalog.set_config('synchronous_commit', 'on', true);
    RETURN NULL;
END
$commit_durably$;

-- The events. Rows are inserted, read, and dropped with their day: never updated or deleted one by one.
-- No primary key: a partitioned one would have to hold created_at and would promise nothing about id alone.
DO $event$
BEGIN
    IF to_regclass('outbox.event') IS NOT NULL THEN
        IF NOT EXISTS (SELECT FROM pg_attribute
                       WHERE attrelid = 'outbox.event'::regclass AND attname = 'xid' AND NOT attisdropped) THEN
            RAISE duplicate_table USING
                MESSAGE = 'a table outbox.event exists that outboxd did not make',
                HINT = 'Rename it or move it to another schema, then run this again.';
        END IF;
        RETURN;
    END IF;

    CREATE TABLE outbox.event (
        id             bigint GENERATED ALWAYS AS IDENTITY (CACHE 1),
        xid            xid8 NOT NULL DEFAULT pg_current_xact_id(),
        event_id       uuid NOT NULL,
        aggregate_type text NOT NULL CONSTRAINT event_aggregate_type_not_empty CHECK (aggregate_type <> ''),
        aggregate_id   text NOT NULL,
        event_type     text NOT NULL CONSTRAINT event_type_not_empty CHECK (event_type <> ''),
        event_version  text NOT NULL DEFAULT '1.0',
        payload        json,
        payload_bytes  bytea,
        content_type   text CONSTRAINT event_content_type_not_empty CHECK (content_type <> ''),
        headers        json CONSTRAINT event_headers_is_object CHECK (json_typeof(headers) = 'object'),
        occurred_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
        created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
        topic          text CONSTRAINT event_topic_not_empty CHECK (topic <> ''),
        partition_key  text,
        CONSTRAINT event_one_payload CHECK (payload IS NULL OR payload_bytes IS NULL)
    ) PARTITION BY RANGE (created_at);

    -- The expression itself, not a call of the function: that saves an unprepared insert 12 us of planning.
    EXECUTE (SELECT 'ALTER TABLE outbox.event ALTER event_id SET DEFAULT ' || regexp_replace(prosrc, '^\s*SELECT\s', '')
             FROM pg_proc WHERE oid = 'outbox.new_event_id()'::regprocedure);

    CREATE INDEX event_by_id ON outbox.event (id);
    CREATE INDEX event_by_xid ON outbox.event (xid, id);

    -- The net: takes the rows of days that have no partition.
    CREATE TABLE outbox.event_default PARTITION OF outbox.event DEFAULT;

    CREATE TRIGGER event_commit_durably BEFORE INSERT ON outbox.event
        FOR EACH STATEMENT WHEN (current_setting('synchronous_commit') = 'off')
        EXECUTE FUNCTION outbox.commit_durably();

    COMMENT ON TABLE outbox.event IS 'Events to publish. A row is sent when its transaction has committed.';
    COMMENT ON COLUMN outbox.event.id IS 'Order of insertion; per key the order of publication';
    COMMENT ON COLUMN outbox.event.xid IS 'The inserting transaction: tells the relay what became visible';
    COMMENT ON COLUMN outbox.event.payload IS 'JSON, passed on byte for byte; NULL without payload_bytes is a tombstone';
    COMMENT ON COLUMN outbox.event.payload_bytes IS 'Instead of payload: anything that is not JSON, always sent raw';
    COMMENT ON COLUMN outbox.event.topic IS 'Overrides the route';
    COMMENT ON COLUMN outbox.event.partition_key IS 'Overrides aggregate_id as the message key';
END
$event$;

-- One row per relay name: who leads, and what is wrong. Rewritten every few seconds: room on the page and no index but
-- the key keep the updates HOT; vacuum may not truncate, because that locks readers out.
CREATE TABLE IF NOT EXISTS outbox.relay (
    name              text PRIMARY KEY CHECK (name <> ''),
    holder            uuid,
    instance          text,
    epoch             bigint NOT NULL DEFAULT 0,
    beat              bigint NOT NULL DEFAULT 0,
    renewed_at        timestamptz,
    ttl_ms            integer,
    bell              integer NOT NULL DEFAULT 0 CHECK (bell BETWEEN 0 AND 3),
    system_identifier bigint NOT NULL,
    created_at        timestamptz NOT NULL DEFAULT now(),
    trouble_cause     text,
    trouble_text      text,
    trouble_event_id  uuid,
    trouble_row_id    bigint,
    trouble_topic     text,
    trouble_since     timestamptz,
    trouble_attempts  integer NOT NULL DEFAULT 0,
    trouble_next_try  timestamptz,
    trouble_halted    boolean NOT NULL DEFAULT false
) WITH (fillfactor = 20, vacuum_truncate = false, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);

-- Where reading stands: everything visible in base is settled; of the rows visible in target and not in base (the
-- present batch) those up to last_id are. Lane 0 is the relay's main lane and has no filter.
CREATE TABLE IF NOT EXISTS outbox.lane (
    relay     text NOT NULL REFERENCES outbox.relay (name) ON DELETE CASCADE,
    id        integer NOT NULL CHECK (id >= 0),
    filter    text CHECK ((filter IS NULL) = (id = 0)),
    base      pg_snapshot NOT NULL,
    target    pg_snapshot,
    last_id   bigint NOT NULL DEFAULT 0,
    state     text NOT NULL DEFAULT 'open',
    error     text,
    attempts  integer NOT NULL DEFAULT 0,
    next_try  timestamptz,
    stored_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (relay, id)
) WITH (fillfactor = 20, vacuum_truncate = false, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);

-- Events that were given up on purpose.
CREATE TABLE IF NOT EXISTS outbox.dead (
    relay      text NOT NULL REFERENCES outbox.relay (name) ON DELETE CASCADE,
    row_id     bigint NOT NULL,
    event_id   uuid NOT NULL,
    topic      text,
    cause      text NOT NULL,
    error      text,
    attempts   integer NOT NULL DEFAULT 0,
    skipped_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (relay, row_id)
);

-- Publishes one event in the caller's transaction; returns its event id. payload has no default: a forgotten argument
-- must not become a tombstone.
CREATE OR REPLACE FUNCTION outbox.publish(
    aggregate_type text,
    aggregate_id   text,
    event_type     text,
    payload        json,
    headers        json DEFAULT NULL,
    event_version  text DEFAULT NULL,
    occurred_at    timestamptz DEFAULT NULL,
    event_id       uuid DEFAULT NULL,
    topic          text DEFAULT NULL,
    partition_key  text DEFAULT NULL,
    payload_bytes  bytea DEFAULT NULL,
    content_type   text DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $publish$
DECLARE
    new_id uuid := coalesce(event_id, outbox.new_event_id()); -- not RETURNING: writers may not read the table
BEGIN
    INSERT INTO outbox.event (event_id, aggregate_type, aggregate_id, event_type, event_version, payload,
                              payload_bytes, content_type, headers, occurred_at, topic, partition_key)
    VALUES (new_id, publish.aggregate_type, publish.aggregate_id, publish.event_type,
            coalesce(publish.event_version, '1.0'), publish.payload, publish.payload_bytes, publish.content_type,
            publish.headers, coalesce(publish.occurred_at, clock_timestamp()), publish.topic, publish.partition_key);
    RETURN new_id;
END
$publish$;

-- Makes the partition of one day (UTC) without making a writer wait; returns what came of it. ATTACH needs the
-- default partition for itself. No writer uses that while every day has its own; then we may queue for it, for
-- lock_timeout, and only a reader can meet us. Once it holds rows writers are there: take it at once or not at all, and
-- do not let ATTACH scan much of it.
CREATE OR REPLACE FUNCTION outbox.make_day(day date) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO, YMD'
SET lock_timeout = '20ms' AS $make_day$
DECLARE
    leaf       text := 'event_' || to_char(day, 'YYYYMMDD');
    from_time  timestamptz := day::timestamptz;
    until_time timestamptz := (day + 1)::timestamptz;
    net_bytes  bigint := pg_relation_size('outbox.event_default');
BEGIN
    IF EXISTS (SELECT FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
               WHERE i.inhparent = 'outbox.event'::regclass AND c.relname = leaf) THEN
        RETURN 'exists';
    ELSIF to_regclass('outbox.' || leaf) IS NOT NULL THEN
        RETURN 'skipped: a table of this name is there, but is no partition';
    ELSIF net_bytes > 33554432 THEN
        RETURN 'skipped: the default partition is too large to be scanned under a lock';
    ELSIF net_bytes > 0 AND EXISTS (SELECT FROM outbox.event_default e
                                    WHERE e.created_at >= from_time AND e.created_at < until_time) THEN
        RETURN 'skipped: the default partition holds rows of this day';
    END IF;

    FOR attempt IN 1..5 LOOP
        BEGIN
            -- Writers insert into today: one on its way into the default partition would fail when today is attached. So
            -- none may be under way then; new ones wait the few milliseconds.
            IF day <= (clock_timestamp() AT TIME ZONE 'UTC')::date THEN
                LOCK TABLE ONLY outbox.event IN SHARE ROW EXCLUSIVE MODE;
            END IF;
            IF net_bytes > 0 THEN
                LOCK TABLE outbox.event_default IN ACCESS EXCLUSIVE MODE NOWAIT;
            ELSE
                LOCK TABLE outbox.event_default IN ACCESS EXCLUSIVE MODE;
            END IF;
            EXECUTE format('CREATE TABLE outbox.%I (LIKE outbox.event INCLUDING ALL EXCLUDING IDENTITY'
                ' EXCLUDING INDEXES EXCLUDING STATISTICS EXCLUDING COMMENTS)', leaf);
            EXECUTE format('ALTER TABLE outbox.event ATTACH PARTITION outbox.%I FOR VALUES FROM (%L) TO (%L)',
                leaf, from_time, until_time);
            RETURN 'created';
        EXCEPTION
            WHEN lock_not_available THEN
                PERFORM pg_sleep(0.01);
            WHEN check_violation THEN
                RETURN 'skipped: the default partition holds rows of this day';
            WHEN duplicate_table OR unique_violation THEN
                RETURN 'exists'; -- somebody else made it at the same moment
        END;
    END LOOP;
    RETURN 'skipped: the table is busy';
END
$make_day$;

-- Partitions for today and the days ahead (UTC). A running relay calls it hourly. Writers never wait for it. A
-- day that is skipped loses nothing, its rows go to the default partition; the next call tries again. Keep the
-- transaction short: until its end readers wait.
CREATE OR REPLACE FUNCTION outbox.ensure_days(days_ahead integer DEFAULT 7)
RETURNS TABLE (day date, partition_name text, outcome text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $ensure_days$
DECLARE
    today date := (clock_timestamp() AT TIME ZONE 'UTC')::date;
BEGIN
    IF days_ahead IS NULL OR days_ahead NOT BETWEEN 0 AND 60 THEN
        RAISE invalid_parameter_value USING MESSAGE = 'days_ahead must be 0 to 60';
    END IF;
    FOR i IN 0..days_ahead LOOP
        day := today + i;
        partition_name := 'outbox.event_' || to_char(day, 'YYYYMMDD');
        outcome := outbox.make_day(day);
        RETURN NEXT;
    END LOOP;
END
$ensure_days$;

-- A relay's position by word: 'beginning' is before every row, 'now' is after every row that is visible now.
CREATE OR REPLACE FUNCTION outbox.position_of(word text) RETURNS pg_snapshot
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $position_of$
BEGIN
    IF word = 'beginning' THEN
        RETURN '1:1:'::pg_snapshot;
    ELSIF word = 'now' THEN
        RETURN pg_current_snapshot();
    END IF;
    RAISE invalid_parameter_value USING
        MESSAGE = format('unknown position %L', coalesce(word, 'NULL')), HINT = 'Say ''beginning'' or ''now''.';
END
$position_of$;

-- Makes the row and the main lane of a relay; false: it exists, and nothing was changed.
CREATE OR REPLACE FUNCTION outbox.make_relay(relay_name text, start_at text, bell integer DEFAULT 0) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $make_relay$
DECLARE
    start pg_snapshot := outbox.position_of(start_at);
BEGIN
    INSERT INTO outbox.relay (name, bell, system_identifier)
    SELECT relay_name, make_relay.bell, c.system_identifier FROM pg_control_system() c
    ON CONFLICT (name) DO NOTHING;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO outbox.lane (relay, id, base) VALUES (relay_name, 0, start);
    RETURN true;
END
$make_relay$;

-- Moves a relay to the beginning or to now, gives up its other lanes, and accepts this server as the one the position
-- belongs to. A running relay sees the raised epoch at its next write and takes over anew, from here.
CREATE OR REPLACE FUNCTION outbox.rebase(relay_name text, move_to text)
RETURNS TABLE (old_base pg_snapshot, old_target pg_snapshot, old_last_id bigint, old_system_identifier bigint,
               new_base pg_snapshot, new_system_identifier bigint, new_epoch bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $rebase$
BEGIN
    SELECT r.system_identifier INTO old_system_identifier
    FROM outbox.relay r WHERE r.name = relay_name FOR UPDATE;
    IF NOT FOUND THEN
        RAISE no_data_found USING MESSAGE = format('there is no relay %L', relay_name);
    END IF;
    PERFORM set_config('synchronous_commit', 'on', true);

    SELECT l.base, l.target, l.last_id INTO old_base, old_target, old_last_id
    FROM outbox.lane l WHERE l.relay = relay_name AND l.id = 0;
    new_base := outbox.position_of(move_to);
    DELETE FROM outbox.lane l WHERE l.relay = relay_name;
    INSERT INTO outbox.lane (relay, id, base) VALUES (relay_name, 0, new_base);

    UPDATE outbox.relay r
    SET epoch = r.epoch + 1, system_identifier = c.system_identifier, trouble_cause = NULL, trouble_text = NULL,
        trouble_event_id = NULL, trouble_row_id = NULL, trouble_topic = NULL, trouble_since = NULL,
        trouble_attempts = 0, trouble_next_try = NULL, trouble_halted = false
    FROM pg_control_system() c
    WHERE r.name = relay_name
    RETURNING r.system_identifier, r.epoch INTO new_system_identifier, new_epoch;
    RETURN NEXT;
END
$rebase$;

-- What each role may do. Writers name no column that orders or dates an event, and read nothing.
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA outbox FROM PUBLIC;
GRANT USAGE ON SCHEMA outbox TO outbox_writer, outbox_relay;
GRANT INSERT (event_id, aggregate_type, aggregate_id, event_type, event_version, payload, payload_bytes, content_type,
              headers, occurred_at, topic, partition_key) ON outbox.event TO outbox_writer;
GRANT EXECUTE ON FUNCTION outbox.new_event_id() TO outbox_writer;
GRANT EXECUTE ON FUNCTION outbox.publish(text, text, text, json, json, text, timestamptz, uuid, text, text, bytea, text)
    TO outbox_writer;
GRANT SELECT ON outbox.event, outbox.migration TO outbox_relay;
GRANT SELECT, UPDATE ON outbox.relay TO outbox_relay;
GRANT SELECT, INSERT, UPDATE, DELETE ON outbox.lane, outbox.dead TO outbox_relay;
GRANT EXECUTE ON FUNCTION outbox.ensure_days(integer) TO outbox_relay;

DO $days$
BEGIN
    PERFORM outbox.ensure_days(7);
END
$days$;

INSERT INTO outbox.migration (version, name) VALUES (1, 'base') ON CONFLICT (version) DO NOTHING;

RESET ROLE;
