-- Lane :lane and the main lane stand at one position: removes the lane and stores that position, if the lease is ours. What
-- it has published counts for the main lane from now on. No row: it is not ours, or the lane is gone; else whether the relay
-- is paused.
WITH mine AS MATERIALIZED (
    SELECT r.name, r.paused_at IS NOT NULL AS paused, set_config('synchronous_commit', 'on', true) FROM outbox.relay r
    WHERE r.name = :relay AND r.epoch = :epoch AND r.holder = :holder::uuid FOR SHARE
), gone AS (
    DELETE FROM outbox.lane l USING mine WHERE l.relay = mine.name AND l.id = :lane AND l.id > 0
    RETURNING l.relay, l.published
)
UPDATE outbox.lane m
SET base = :base::pg_snapshot, target = :target::pg_snapshot, last_id = :last_id, stored_at = clock_timestamp(),
    published = m.published + gone.published + :events
FROM mine, gone WHERE m.relay = gone.relay AND m.id = 0
RETURNING mine.paused
