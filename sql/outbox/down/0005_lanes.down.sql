-- migrate:down
-- Takes lanes away. Refused while there are any: events of theirs, which the main lane has passed over, would never be
-- published. Let them be published or skipped first, or move the relay (outboxd rebase), which gives them up.
DO $lanes$
BEGIN
    IF to_regclass('outbox.lane') IS NULL THEN
        RETURN;
    END IF;
    IF EXISTS (SELECT FROM outbox.lane WHERE id > 0) THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = 'outbox.lane holds lanes whose events are not published',
            HINT = 'Mend what keeps them, skip their events (outboxd parked), or move the relay (outboxd rebase).';
    END IF;
END
$lanes$;

DROP FUNCTION IF EXISTS outbox.fold_lanes(text, bigint);
DROP FUNCTION IF EXISTS outbox.skip_events(text, integer[], bigint[], text, text);
DROP FUNCTION IF EXISTS outbox.retry_lanes(text, integer[], text);

-- As 0003 has it. Nothing to restore where the schema is gone.
DO $restore$
BEGIN
    IF to_regproc('outbox.held_by') IS NULL THEN
        RETURN;
    END IF;
    EXECUTE $function$
CREATE OR REPLACE FUNCTION outbox.held_by(partition_name text) RETURNS text
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off
AS $held_by$
DECLARE
    lane  record;
    last  bigint;
    there boolean := false;
BEGIN
    FOR lane IN
        SELECT r.name, l.base, l.target, l.last_id,
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
        RETURN format('relay %I has not published all of it', lane.name);
    END LOOP;
    RETURN CASE WHEN NOT there THEN 'there is no relay' END;
END
$held_by$
$function$;
END
$restore$;

ALTER TABLE IF EXISTS outbox.dead DROP COLUMN IF EXISTS by_whom, DROP COLUMN IF EXISTS reason,
    DROP COLUMN IF EXISTS dead_letter_topic, DROP COLUMN IF EXISTS key, DROP COLUMN IF EXISTS lane;
ALTER TABLE IF EXISTS outbox.lane DROP CONSTRAINT IF EXISTS lane_filter_is_whole, DROP COLUMN IF EXISTS given_up,
    DROP COLUMN IF EXISTS asked_by, DROP COLUMN IF EXISTS asked_at, DROP COLUMN IF EXISTS since,
    DROP COLUMN IF EXISTS row_id, DROP COLUMN IF EXISTS event_id, DROP COLUMN IF EXISTS cause,
    DROP COLUMN IF EXISTS made_at, DROP COLUMN IF EXISTS routes, DROP COLUMN IF EXISTS partitions,
    DROP COLUMN IF EXISTS partition, DROP COLUMN IF EXISTS key, DROP COLUMN IF EXISTS topic;
ALTER TABLE IF EXISTS outbox.relay DROP COLUMN IF EXISTS last_lane;

DO $record$
BEGIN
    IF to_regclass('outbox.migration') IS NOT NULL THEN
        DELETE FROM outbox.migration WHERE version = 5;
    END IF;
END
$record$;
