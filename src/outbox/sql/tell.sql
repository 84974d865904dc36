-- What `outboxd status` shows: $1 relay, $2 epoch, $3 holder, $4 cause or NULL, $5 text, $6 event id, $7 row id, $8 topic,
-- $9 attempts, $10 milliseconds to the next try or NULL, $11 halted. The same trouble keeps the time it began.
UPDATE outbox.relay
SET trouble_since = CASE WHEN $4::text IS NULL THEN NULL
        WHEN trouble_cause = $4::text AND trouble_event_id IS NOT DISTINCT FROM $6::uuid THEN trouble_since
        ELSE clock_timestamp() END,
    trouble_cause = $4::text, trouble_text = $5::text, trouble_event_id = $6::uuid, trouble_row_id = $7::bigint,
    trouble_topic = $8::text, trouble_attempts = $9::integer,
    trouble_next_try = clock_timestamp() + $10::bigint * interval '1 millisecond', trouble_halted = $11::boolean
WHERE name = $1::text AND epoch = $2::bigint AND holder = $3::uuid
