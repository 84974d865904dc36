-- Stores the position of the main lane if the lease is ours: $1 relay, $2 epoch, $3 holder, $4 base, $5 target or NULL,
-- $6 last id, $7 'on' or 'off' for this commit, $8 how many events it newly covers. The lock on the relay's row makes a
-- takeover wait for us, or us see it. No row: it is not ours; else whether the relay is paused.
WITH mine AS MATERIALIZED (
    SELECT r.name, r.paused_at IS NOT NULL AS paused, set_config('synchronous_commit', $7::text, true) FROM outbox.relay r
    WHERE r.name = $1::text AND r.epoch = $2::bigint AND r.holder = $3::uuid FOR SHARE
)
UPDATE outbox.lane l
SET base = $4::pg_snapshot, target = $5::pg_snapshot, last_id = $6::bigint, stored_at = clock_timestamp(),
    published = l.published + $8::bigint
FROM mine WHERE l.relay = mine.name AND l.id = 0
RETURNING mine.paused::text
