-- One attempt to take the relay's row, and a look at it, in one synchronous transaction. The lane is read by a statement
-- of its own, so that it shows what was committed while the update waited for the row; read before or after the
-- transaction it would be another holder's.
SET LOCAL synchronous_commit = on;
UPDATE outbox.relay
SET holder = :holder::uuid, instance = :instance, epoch = epoch + 1, beat = beat + 1, renewed_at = clock_timestamp(),
    ttl_ms = :ttl_ms
WHERE name = :relay AND (:condition)
RETURNING true;
SELECT r.holder IS NULL, coalesce(r.instance = :instance, false), r.paused_at IS NOT NULL, r.epoch, r.beat, r.bell,
    l.base::text, l.target::text, l.last_id
FROM outbox.relay r LEFT JOIN outbox.lane l ON l.relay = r.name AND l.id = 0
WHERE r.name = :relay
