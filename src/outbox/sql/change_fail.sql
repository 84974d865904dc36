-- A try of lane :lane has failed: stores its position and why, if the lease is ours. The same cause at the same event keeps
-- the time it began. No row: it is not ours, or the lane is gone; else whether the relay is paused.
WITH mine AS MATERIALIZED (
    SELECT r.name, r.paused_at IS NOT NULL AS paused, set_config('synchronous_commit', 'on', true) FROM outbox.relay r
    WHERE r.name = :relay AND r.epoch = :epoch AND r.holder = :holder::uuid FOR SHARE
)
UPDATE outbox.lane l
SET base = :base::pg_snapshot, target = :target::pg_snapshot, last_id = :last_id, stored_at = clock_timestamp(),
    published = l.published + :events, state = 'waiting',
    since = CASE WHEN l.cause = :cause AND l.event_id IS NOT DISTINCT FROM :event_id::uuid THEN l.since
        ELSE clock_timestamp() END,
    cause = :cause, error = :text, event_id = :event_id::uuid, row_id = :row_id, attempts = :attempts,
    next_try = clock_timestamp() + :next_try * interval '1 millisecond', asked_at = NULL, asked_by = NULL
FROM mine WHERE l.relay = mine.name AND l.id = :lane AND l.id > 0
RETURNING mine.paused
