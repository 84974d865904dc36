-- Stores the position of lane $9 as store.sql does that of the main lane. Its events flow again when any were acknowledged:
-- what was wrong is forgotten, and a wish of an operator fulfilled. No row: the lease is not ours, or the lane is gone.
WITH mine AS MATERIALIZED (
    SELECT r.name, r.paused_at IS NOT NULL AS paused, set_config('synchronous_commit', $7::text, true) FROM outbox.relay r
    WHERE r.name = $1::text AND r.epoch = $2::bigint AND r.holder = $3::uuid FOR SHARE
)
UPDATE outbox.lane l
SET base = $4::pg_snapshot, target = $5::pg_snapshot, last_id = $6::bigint, stored_at = clock_timestamp(),
    published = l.published + $8::bigint,
    state = CASE WHEN $8::bigint > 0 THEN 'flowing' ELSE l.state END,
    cause = CASE WHEN $8::bigint > 0 THEN NULL ELSE l.cause END,
    error = CASE WHEN $8::bigint > 0 THEN NULL ELSE l.error END,
    event_id = CASE WHEN $8::bigint > 0 THEN NULL ELSE l.event_id END,
    row_id = CASE WHEN $8::bigint > 0 THEN NULL ELSE l.row_id END,
    since = CASE WHEN $8::bigint > 0 THEN NULL ELSE l.since END,
    attempts = CASE WHEN $8::bigint > 0 THEN 0 ELSE l.attempts END,
    next_try = CASE WHEN $8::bigint > 0 THEN NULL ELSE l.next_try END,
    asked_at = CASE WHEN $8::bigint > 0 THEN NULL ELSE l.asked_at END,
    asked_by = CASE WHEN $8::bigint > 0 THEN NULL ELSE l.asked_by END
FROM mine WHERE l.relay = mine.name AND l.id = $9::integer AND l.id > 0
RETURNING mine.paused::text
