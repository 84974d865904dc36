-- Renews the lease: $1 relay, $2 epoch, $3 holder. No row: it is not ours any more; else whether the relay is paused, and the
-- ids of the lanes that an operator wants tried.
UPDATE outbox.relay SET beat = beat + 1, renewed_at = clock_timestamp()
WHERE name = $1::text AND epoch = $2::bigint AND holder = $3::uuid
RETURNING (paused_at IS NOT NULL)::text,
    (SELECT coalesce(string_agg(l.id::text, ' ' ORDER BY l.id), '') FROM outbox.lane l
     WHERE l.relay = $1::text AND l.id > 0 AND l.asked_at IS NOT NULL)
