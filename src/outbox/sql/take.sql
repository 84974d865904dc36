-- One attempt to take the relay's row, and a look at it and its lanes, in one synchronous transaction. The lanes are read by
-- statements of their own, so that they show what was committed while the update waited for the row; read before or after
-- the transaction they would be another holder's. What is done only when the row was taken asks whether this transaction
-- has written it.
SET LOCAL synchronous_commit = on;
UPDATE outbox.relay
SET holder = :holder::uuid, instance = :instance, epoch = epoch + 1, beat = beat + 1, renewed_at = clock_timestamp(),
    ttl_ms = :ttl_ms
WHERE name = :relay AND (:condition)
RETURNING true;
SELECT outbox.fold_lanes(r.name, :mark), 'fold'
FROM outbox.relay r WHERE r.name = :relay AND r.xmin = pg_current_xact_id_if_assigned()::xid;
SELECT r.holder IS NULL, coalesce(r.instance = :instance, false), r.paused_at IS NOT NULL, r.epoch, r.beat, r.bell,
    l.base::text, l.target::text, l.last_id, r.last_lane, coalesce(l.given_up, 0)
FROM outbox.relay r LEFT JOIN outbox.lane l ON l.relay = r.name AND l.id = 0
WHERE r.name = :relay;
SELECT l.id, l.filter, l.topic, coalesce(l.key, ''), coalesce(l.partition, 0), coalesce(l.partitions, 0),
    l.base::text, l.target::text, l.last_id, l.asked_at IS NOT NULL, coalesce(l.cause, ''), coalesce(l.error, ''),
    coalesce(l.event_id::text, ''), coalesce(l.row_id, 0), l.attempts,
    greatest(0, ceil(coalesce(extract(epoch FROM l.next_try - clock_timestamp()) * 1000, 0)))::bigint
FROM outbox.relay r JOIN outbox.lane l ON l.relay = r.name AND l.id > 0
WHERE r.name = :relay AND r.xmin = pg_current_xact_id_if_assigned()::xid
ORDER BY l.id
