-- migrate:up
-- Control: pausing a relay, counting what it has published, and more ways to set a position anew: from an event's id, from
-- a time, or kept as it is on a server that came out of pg_upgrade.
SET ROLE outbox_owner;

-- Both tables are the relays' own; no writer of events touches them. Asked first, because ALTER TABLE locks even when
-- there is nothing to add.
DO $columns$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_attribute
                   WHERE attrelid = 'outbox.relay'::regclass AND attname = 'paused_at' AND NOT attisdropped) THEN
        ALTER TABLE outbox.relay ADD COLUMN paused_at timestamptz, ADD COLUMN paused_by text, ADD COLUMN pause_reason text;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_attribute
                   WHERE attrelid = 'outbox.lane'::regclass AND attname = 'published' AND NOT attisdropped) THEN
        ALTER TABLE outbox.lane ADD COLUMN published bigint NOT NULL DEFAULT 0;
    END IF;
    COMMENT ON COLUMN outbox.relay.paused_at IS 'Since when the relay holds still; NULL: it is not paused';
    COMMENT ON COLUMN outbox.lane.published IS
        'Events acknowledged, counted with each stored position; in lane, whose row is written then anyhow';
END
$columns$;

-- Lets a relay hold still: whoever leads keeps the lease, settles what is in flight and reads nothing more, also after a
-- restart or takeover, until it is resumed. It learns of it with its next write: at once under load, else within a third
-- of its ttl. The epoch stays, so that nothing is sent twice. False: it was paused already, and nothing was changed.
CREATE OR REPLACE FUNCTION outbox.pause(relay_name text, reason text DEFAULT NULL, by_whom text DEFAULT NULL)
RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $pause$
BEGIN
    PERFORM FROM outbox.relay r WHERE r.name = relay_name FOR UPDATE;
    IF NOT FOUND THEN
        RAISE no_data_found USING MESSAGE = format('there is no relay %L', relay_name);
    END IF;
    PERFORM set_config('synchronous_commit', 'on', true);
    UPDATE outbox.relay r
    SET paused_at = clock_timestamp(), paused_by = coalesce(nullif(by_whom, ''), session_user),
        pause_reason = nullif(reason, '')
    WHERE r.name = relay_name AND r.paused_at IS NULL;
    RETURN FOUND;
END
$pause$;

-- Ends the pause; a running relay goes on within a second. False: it was not paused.
CREATE OR REPLACE FUNCTION outbox.resume(relay_name text) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $resume$
BEGIN
    PERFORM FROM outbox.relay r WHERE r.name = relay_name FOR UPDATE;
    IF NOT FOUND THEN
        RAISE no_data_found USING MESSAGE = format('there is no relay %L', relay_name);
    END IF;
    PERFORM set_config('synchronous_commit', 'on', true);
    UPDATE outbox.relay r SET paused_at = NULL, paused_by = NULL, pause_reason = NULL
    WHERE r.name = relay_name AND r.paused_at IS NOT NULL;
    RETURN FOUND;
END
$resume$;

-- The smallest id among the events written at a time or later (NULL: there is none). Days that are over by then are
-- left out by their bounds; within the first day the index on id is walked.
CREATE OR REPLACE FUNCTION outbox.first_id_since(from_time timestamptz) RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off
AS $first_id_since$
BEGIN
    RETURN (SELECT min(e.id) FROM outbox.event e WHERE e.created_at >= from_time);
END
$first_id_since$;

-- Moves a relay to an event, by the id of its row: everything visible now with that id or a greater one is published, and
-- whatever commits from now on, with smaller ids, too. Otherwise as rebase(text, text).
CREATE OR REPLACE FUNCTION outbox.rebase(relay_name text, from_id bigint)
RETURNS TABLE (old_base pg_snapshot, old_target pg_snapshot, old_last_id bigint, old_system_identifier bigint,
               new_base pg_snapshot, new_system_identifier bigint, new_epoch bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $rebase_id$
DECLARE
    newest bigint := (SELECT max(e.id) FROM outbox.event e);
BEGIN
    IF newest IS NULL THEN
        RAISE invalid_parameter_value USING MESSAGE = 'outbox.event is empty', HINT = 'Say ''now''.';
    ELSIF from_id IS NULL OR from_id > newest THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('id %s is beyond the newest event, which has id %s', coalesce(from_id::text, 'NULL'), newest),
            HINT = 'Say ''now'' to publish only what comes.';
    END IF;
    SELECT b.* INTO old_base, old_target, old_last_id, old_system_identifier, new_base, new_system_identifier, new_epoch
    FROM outbox.rebase(relay_name, 'beginning'::text) b;
    UPDATE outbox.lane l SET target = pg_current_snapshot(), last_id = greatest(from_id, 1) - 1
    WHERE l.relay = relay_name AND l.id = 0;
    RETURN NEXT;
END
$rebase_id$;

-- The same from a time on: from the smallest id among the events written at that time or later.
CREATE OR REPLACE FUNCTION outbox.rebase(relay_name text, from_time timestamptz)
RETURNS TABLE (old_base pg_snapshot, old_target pg_snapshot, old_last_id bigint, old_system_identifier bigint,
               new_base pg_snapshot, new_system_identifier bigint, new_epoch bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $rebase_time$
DECLARE
    first_id bigint := outbox.first_id_since(from_time);
BEGIN
    IF first_id IS NULL THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('no event was written at %s or later', coalesce(from_time::text, 'NULL')),
            HINT = 'Say ''now'' to publish only what comes.';
    END IF;
    RETURN QUERY SELECT b.* FROM outbox.rebase(relay_name, first_id) b;
END
$rebase_time$;

-- Accepts this server for a relay's position and keeps the position. Only right where transaction ids have gone on from
-- where they were: after pg_upgrade, or pg_resetwal with the old counters. Refused when the position is ahead of this
-- server, and when the events were loaded here from a dump, which shows in rows of several transactions that one
-- transaction has put there.
CREATE OR REPLACE FUNCTION outbox.rebase_keep(relay_name text)
RETURNS TABLE (old_system_identifier bigint, new_system_identifier bigint, new_epoch bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off AS $rebase_keep$
DECLARE
    furthest xid8;
    settled  xid8;
    loaded   boolean;
BEGIN
    SELECT r.system_identifier INTO old_system_identifier FROM outbox.relay r WHERE r.name = relay_name FOR UPDATE;
    IF NOT FOUND THEN
        RAISE no_data_found USING MESSAGE = format('there is no relay %L', relay_name);
    END IF;
    PERFORM set_config('synchronous_commit', 'on', true);
    SELECT greatest(pg_snapshot_xmax(l.base), pg_snapshot_xmax(l.target)), pg_snapshot_xmin(l.base) INTO furthest, settled
    FROM outbox.lane l WHERE l.relay = relay_name ORDER BY 1 DESC LIMIT 1;
    IF furthest > pg_snapshot_xmax(pg_current_snapshot()) THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('the position (transaction %s) is ahead of this server (%s): transaction ids were not kept',
                             furthest, pg_snapshot_xmax(pg_current_snapshot())),
            HINT = 'Say ''now'' or ''beginning'', an id or a time.';
    END IF;
    SELECT count(DISTINCT s.xid::text) > count(DISTINCT s.loader) INTO loaded
    FROM (SELECT e.xid, e.xmin::text AS loader FROM outbox.event e
          WHERE e.xid < settled ORDER BY e.xid DESC, e.id DESC LIMIT 1000) AS s;
    IF loaded THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'the events were loaded into this server from a dump: transaction ids were not kept',
            HINT = 'Say ''now'' or ''beginning'', an id or a time.';
    END IF;
    UPDATE outbox.relay r
    SET epoch = r.epoch + (r.system_identifier <> c.system_identifier)::integer, system_identifier = c.system_identifier
    FROM pg_control_system() c
    WHERE r.name = relay_name
    RETURNING r.system_identifier, r.epoch INTO new_system_identifier, new_epoch;
    RETURN NEXT;
END
$rebase_keep$;

REVOKE ALL ON FUNCTION outbox.pause(text, text, text), outbox.resume(text), outbox.first_id_since(timestamptz),
    outbox.rebase(text, bigint), outbox.rebase(text, timestamptz), outbox.rebase_keep(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION outbox.pause(text, text, text), outbox.resume(text) TO outbox_relay;
GRANT EXECUTE ON FUNCTION outbox.first_id_since(timestamptz) TO outbox_relay;

INSERT INTO outbox.migration (version, name) VALUES (4, 'control') ON CONFLICT (version) DO NOTHING;

RESET ROLE;
