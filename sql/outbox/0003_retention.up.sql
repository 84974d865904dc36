-- migrate:up
-- Retention: a day whose events are all published, by every relay, is emptied by TRUNCATE when it is old enough, and its
-- empty partition goes later, when that costs nobody. The relay calls this hourly; without this migration old days stay.
SET ROLE outbox_owner;

-- Whether the partition holds a row that the snapshot does not show, or would not if it were older. Two looks into the
-- index (xid, id), however many rows there are. VOLATILE, as all of these: each sees what was committed before it began.
CREATE OR REPLACE FUNCTION outbox.has_unseen(partition_name text, seen pg_snapshot) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off
AS $has_unseen$
DECLARE
    found_one boolean;
BEGIN
    EXECUTE format('SELECT EXISTS (SELECT FROM ONLY outbox.%1$I WHERE xid >= pg_snapshot_xmax($1))'
        ' OR EXISTS (SELECT FROM pg_snapshot_xip($1) AS x,'
        ' LATERAL (SELECT FROM ONLY outbox.%1$I e WHERE e.xid = x LIMIT 1) AS s)', partition_name)
    INTO found_one USING seen;
    RETURN found_one;
END
$has_unseen$;

-- Why the partition must be kept: a relay one of whose lanes has not settled every row of it; NULL: none. Errs on the
-- side of keeping: a lane counts as if it covered all keys, and in the middle of a batch nothing may be beyond last_id.
-- The positions are read before the rows.
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
$held_by$;

-- The partitions that retention cares for, with what they are: a day that is over since keep (NULL: none is), one that was
-- detached and waits for its DROP, or the default partition. Bounds count, not names.
CREATE OR REPLACE FUNCTION outbox.due_partitions(keep interval)
RETURNS TABLE (partition_name text, kind text, until_time timestamptz)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO, YMD' AS $due_partitions$
    SELECT name, kind, upto
    FROM (
        SELECT c.relname::text AS name, CASE b.bound WHEN 'DEFAULT' THEN 'default' ELSE 'day' END AS kind,
            substring(b.bound FROM 'TO \(''([^'']*)''\)')::timestamptz AS upto
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid AND c.relkind = 'r',
            LATERAL (SELECT pg_get_expr(c.relpartbound, c.oid) AS bound) AS b
        WHERE i.inhparent = 'outbox.event'::regclass
        UNION ALL
        SELECT c.relname, 'detached', NULL
        FROM pg_class c
        WHERE c.relnamespace = 'outbox'::regnamespace AND c.relkind = 'r' AND NOT c.relispartition
            AND obj_description(c.oid, 'pg_class') = 'outboxd: retired'
    ) AS p
    WHERE kind <> 'day' OR upto <= clock_timestamp() - keep
    ORDER BY name COLLATE "C"
$due_partitions$;

-- Empties one day. The lock comes first: it waits for open transactions that have written into this day (not for long: no
-- writer of today asks for this lock, but readers may queue behind us). Then, in a new statement, the question whether
-- all that was committed meanwhile is settled, and only then TRUNCATE.
CREATE OR REPLACE FUNCTION outbox.empty_day(partition_name text) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '20ms' AS $empty_day$
DECLARE
    holder text := outbox.held_by(partition_name); -- saves the lock
BEGIN
    IF holder IS NOT NULL THEN
        RETURN 'kept: ' || holder;
    END IF;
    FOR attempt IN 1..3 LOOP
        BEGIN
            EXECUTE format('LOCK TABLE ONLY outbox.%I IN ACCESS EXCLUSIVE MODE', partition_name);
            holder := outbox.held_by(partition_name);
            IF holder IS NOT NULL THEN
                RETURN 'kept: ' || holder;
            END IF;
            EXECUTE format('TRUNCATE TABLE ONLY outbox.%I', partition_name);
            RETURN 'emptied';
        EXCEPTION
            WHEN lock_not_available OR deadlock_detected THEN
                PERFORM pg_sleep(0.01);
        END;
    END LOOP;
    RETURN 'kept: a transaction uses it';
END
$empty_day$;

-- Detaches one empty day. That needs outbox.event for itself, behind open writers and before new ones: so not while
-- somebody stays on it, never for longer than 10 ms, and without the DROP, whose commit would wait for the disk.
CREATE OR REPLACE FUNCTION outbox.detach_day(partition_name text) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '10ms' AS $detach_day$
DECLARE
    busy   text[];
    event  oid := 'outbox.event'::regclass;
    net    oid := (SELECT partdefid FROM pg_partitioned_table WHERE partrelid = event);
    leaf   oid := format('outbox.%I', partition_name)::regclass;
BEGIN
    FOR attempt IN 1..3 LOOP
        busy := ARRAY(SELECT virtualtransaction FROM pg_locks
                      WHERE locktype = 'relation' AND relation = event AND pid IS DISTINCT FROM pg_backend_pid()
                          AND database = (SELECT oid FROM pg_database WHERE datname = current_database()));
        IF busy <> '{}' THEN
            PERFORM pg_sleep(0.02);
            CONTINUE WHEN EXISTS (SELECT FROM pg_locks
                                  WHERE locktype = 'relation' AND relation = event AND virtualtransaction = ANY (busy));
        END IF;
        BEGIN
            LOCK TABLE ONLY outbox.event IN ACCESS EXCLUSIVE MODE;
            EXECUTE format('LOCK TABLE ONLY outbox.%I IN ACCESS EXCLUSIVE MODE NOWAIT', partition_name);
            IF net <> 0 THEN
                EXECUTE format('LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE NOWAIT', net::regclass);
            END IF;
            IF pg_relation_size(leaf) > 0 THEN
                RAISE object_not_in_prerequisite_state; -- gives the locks back
            END IF;
            EXECUTE format('ALTER TABLE outbox.event DETACH PARTITION outbox.%I', partition_name);
            EXECUTE format('COMMENT ON TABLE outbox.%I IS %L', partition_name, 'outboxd: retired');
            RETURN 'detached';
        EXCEPTION
            WHEN lock_not_available OR deadlock_detected THEN
                PERFORM pg_sleep(0.01);
            WHEN object_not_in_prerequisite_state THEN
                RETURN 'waits: a row came in late';
        END;
    END LOOP;
    RETURN 'waits: outbox.event is in use';
END
$detach_day$;

-- Drops a partition that was detached before: nobody but its owner can know it.
CREATE OR REPLACE FUNCTION outbox.drop_detached(partition_name text) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '20ms' AS $drop_detached$
BEGIN
    EXECUTE format('LOCK TABLE ONLY outbox.%I IN ACCESS EXCLUSIVE MODE', partition_name);
    IF pg_relation_size(format('outbox.%I', partition_name)::regclass) > 0 THEN
        RETURN 'kept: it was detached empty, and holds rows now';
    END IF;
    EXECUTE format('DROP TABLE outbox.%I', partition_name);
    RETURN 'dropped';
EXCEPTION
    WHEN lock_not_available THEN
        RETURN 'waits: a transaction uses it';
END
$drop_detached$;

-- The next step for the first partition whose name is greater than `after` (no row: there is none): full days are
-- 'emptied', empty ones 'detached', detached ones 'dropped'; else 'kept: ' (as it should not be) or 'waits: ' and why.
-- keep NULL: days are kept for ever, and only the default partition is watched. Any number may call it at once. Let it
-- be the only statement of its transaction, which must be READ COMMITTED: until its end it may hold outbox.event for
-- itself, and a lost commit only means that it is done again, so that it need not wait for the disk.
CREATE OR REPLACE FUNCTION outbox.retire_next(keep interval, after text DEFAULT '')
RETURNS TABLE (day date, partition_name text, outcome text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $retire_next$
DECLARE
    part  record;
    used  boolean;
BEGIN
    IF keep <= '0'::interval THEN
        RAISE invalid_parameter_value USING MESSAGE = 'keep must be positive, or NULL: for ever';
    ELSIF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
        RAISE invalid_transaction_state USING MESSAGE = 'retention needs READ COMMITTED: it looks after it has locked';
    END IF;
    SELECT d.* INTO part FROM outbox.due_partitions(keep) d WHERE d.partition_name > after COLLATE "C" LIMIT 1;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    PERFORM set_config('synchronous_commit', 'off', true);
    day := (part.until_time - interval '1 microsecond')::date;
    partition_name := part.partition_name;
    BEGIN
        IF part.kind = 'default' THEN
            EXECUTE format('SELECT EXISTS (SELECT FROM ONLY outbox.%I)', part.partition_name) INTO used;
            outcome := CASE WHEN used THEN 'kept: rows of days that had no partition' ELSE 'waits: it is the net' END;
        ELSIF part.kind = 'detached' THEN
            outcome := outbox.drop_detached(part.partition_name);
        ELSIF pg_relation_size(format('outbox.%I', part.partition_name)::regclass) > 0 THEN
            outcome := outbox.empty_day(part.partition_name);
        ELSE
            outcome := outbox.detach_day(part.partition_name);
        END IF;
    EXCEPTION
        WHEN undefined_table THEN
            outcome := 'waits: somebody else has dropped it';
        WHEN OTHERS THEN
            outcome := 'kept: ' || SQLERRM; -- not ours, or something hangs on it: the others must not wait for this one
    END;
    IF outcome LIKE 'waits: %' AND part.until_time < clock_timestamp() - keep - interval '7 days' THEN
        outcome := 'kept: empty, but ' || substr(outcome, 8);
    END IF;
    RETURN NEXT;
END
$retire_next$;

-- One step for every partition, for people and schedulers; the relay does without. The same rules hold, but the locks of
-- all days are held until the end of the transaction, so that only empty days wait: they go one at a call.
CREATE OR REPLACE FUNCTION outbox.retire_days(keep interval)
RETURNS TABLE (day date, partition_name text, outcome text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $retire_days$
DECLARE
    after text := '';
BEGIN
    LOOP
        SELECT n.* INTO day, partition_name, outcome FROM outbox.retire_next(keep, after) n;
        EXIT WHEN NOT FOUND;
        RETURN NEXT;
        EXIT WHEN outcome = 'detached';
        after := partition_name;
    END LOOP;
END
$retire_days$;

-- What should be gone, or should not be there, and why it is not so, for `outboxd status` and `check`: changes nothing and
-- waits for nobody. A day is overdue when a relay holds it, or two hours after its time, since relays look hourly.
CREATE OR REPLACE FUNCTION outbox.overdue_days(keep interval)
RETURNS TABLE (day date, partition_name text, bytes bigint, reason text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $overdue_days$
DECLARE
    part record;
    used boolean;
BEGIN
    FOR part IN SELECT d.* FROM outbox.due_partitions(keep) d WHERE d.kind <> 'detached' LOOP
        day := (part.until_time - interval '1 microsecond')::date;
        partition_name := part.partition_name;
        bytes := pg_total_relation_size(format('outbox.%I', partition_name)::regclass);
        reason := NULL;
        IF pg_relation_size(format('outbox.%I', partition_name)::regclass) = 0 THEN
            IF part.until_time < clock_timestamp() - keep - interval '7 days' THEN
                reason := 'it is empty, but not dropped: outbox.event is always in use';
            END IF;
        ELSIF part.kind = 'default' THEN
            EXECUTE format('SELECT EXISTS (SELECT FROM ONLY outbox.%I)', partition_name) INTO used;
            reason := CASE WHEN used THEN 'rows of days that had no partition' END;
        ELSE
            reason := outbox.held_by(partition_name);
            IF reason IS NULL AND part.until_time < clock_timestamp() - keep - interval '2 hours' THEN
                reason := coalesce((SELECT 'used by process ' || string_agg(DISTINCT pid::text, ', ') FROM pg_locks
                    WHERE locktype = 'relation' AND relation = format('outbox.%I', partition_name)::regclass
                        AND pid <> pg_backend_pid()), 'no relay with retention.keep has looked');
            END IF;
        END IF;
        IF reason IS NOT NULL THEN
            RETURN NEXT;
        END IF;
    END LOOP;
END
$overdue_days$;

REVOKE ALL ON FUNCTION outbox.has_unseen(text, pg_snapshot), outbox.held_by(text), outbox.due_partitions(interval),
    outbox.empty_day(text), outbox.detach_day(text), outbox.drop_detached(text), outbox.retire_next(interval, text),
    outbox.retire_days(interval), outbox.overdue_days(interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION outbox.retire_next(interval, text), outbox.retire_days(interval),
    outbox.overdue_days(interval) TO outbox_relay;

INSERT INTO outbox.migration (version, name) VALUES (3, 'retention') ON CONFLICT (version) DO NOTHING;

RESET ROLE;
