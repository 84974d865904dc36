-- Makes the lane :lane at a position that becomes that of lane :from, too, if the lease is ours. No row: it is not, or :from
-- is gone; else whether the relay is paused. The update of the relay's row makes a takeover wait for us, or us see it.
WITH mine AS (
    UPDATE outbox.relay r SET last_lane = greatest(r.last_lane, :lane)
    WHERE r.name = :relay AND r.epoch = :epoch AND r.holder = :holder::uuid
        AND set_config('synchronous_commit', 'on', true) IS NOT NULL
    RETURNING r.name, r.paused_at IS NOT NULL AS paused
), moved AS (
    UPDATE outbox.lane l
    SET base = :base::pg_snapshot, target = :target::pg_snapshot, last_id = :last_id, stored_at = clock_timestamp(),
        published = l.published + :events
    FROM mine WHERE l.relay = mine.name AND l.id = :from
    RETURNING l.relay
), made AS (
    INSERT INTO outbox.lane (relay, id, filter, topic, key, partition, partitions, routes, base, target, last_id, state,
        cause, error, event_id, row_id, since, attempts, next_try)
    SELECT moved.relay, :lane, :filter, :topic, :key, :partition, :partitions, :mark, :base::pg_snapshot,
        :target::pg_snapshot, :last_id, 'waiting', :cause, :text, :event_id::uuid, :row_id, clock_timestamp(), :attempts,
        clock_timestamp() + :next_try * interval '1 millisecond'
    FROM moved
    RETURNING id
)
SELECT mine.paused FROM mine, made
