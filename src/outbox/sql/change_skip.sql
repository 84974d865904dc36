-- Lane :lane's next event is given up by on_error: skip: stores the position behind it and records it in outbox.dead, if
-- the lease is ours. No row: it is not, or the lane is gone; else whether the relay is paused.
WITH mine AS MATERIALIZED (
    SELECT r.name, r.paused_at IS NOT NULL AS paused, set_config('synchronous_commit', 'on', true) FROM outbox.relay r
    WHERE r.name = :relay AND r.epoch = :epoch AND r.holder = :holder::uuid FOR SHARE
), moved AS (
    UPDATE outbox.lane l
    SET base = :base::pg_snapshot, target = :target::pg_snapshot, last_id = :last_id, stored_at = clock_timestamp(),
        published = l.published + :events, cause = NULL, error = NULL, event_id = NULL, row_id = NULL, since = NULL,
        attempts = 0, next_try = NULL
    FROM mine WHERE l.relay = mine.name AND l.id = :lane AND l.id > 0
    RETURNING l.relay, l.id, l.topic
), dead AS (
    INSERT INTO outbox.dead (relay, row_id, event_id, topic, cause, error, attempts, lane, key, dead_letter_topic)
    SELECT moved.relay, :row_id, :event_id::uuid, nullif(moved.topic, ''), :cause, :text, :attempts, moved.id,
        (SELECT coalesce(e.partition_key, e.aggregate_id) FROM outbox.event e WHERE e.id = :row_id LIMIT 1), :dead_letter_topic
    FROM moved
    ON CONFLICT (relay, row_id) DO NOTHING
)
SELECT mine.paused FROM mine, moved
