-- What status says about the relay $1, unsent events aside: one row if there is such a relay. What an older schema has not
-- is NULL: columns of later migrations are taken by name from the row as a whole.
SELECT (SELECT coalesce(max(version), 0) FROM outbox.migration),
    coalesce((SELECT tgnargs FROM pg_trigger
        WHERE tgrelid = 'outbox.event'::regclass AND tgname = 'event_ring' AND tgenabled IN ('O', 'A')), 0),
    coalesce(r.holder::text, ''), coalesce(r.instance, ''), r.epoch, r.beat,
    coalesce(extract(epoch FROM clock_timestamp() - r.renewed_at), -1),
    coalesce(r.ttl_ms, 0), r.bell,
    r.system_identifier <> (SELECT system_identifier FROM pg_control_system()),
    coalesce(extract(epoch FROM clock_timestamp() - (to_jsonb(r) ->> 'paused_at')::timestamptz), -1),
    coalesce(to_jsonb(r) ->> 'paused_by', ''), coalesce(to_jsonb(r) ->> 'pause_reason', ''),
    l.base::text, coalesce(l.target::text, ''), l.last_id, extract(epoch FROM clock_timestamp() - l.stored_at),
    (SELECT count(*) FROM outbox.lane o WHERE o.relay = r.name AND o.id > 0),
    coalesce(r.trouble_cause, ''), coalesce(r.trouble_text, ''), coalesce(r.trouble_event_id::text, ''),
    coalesce(r.trouble_row_id, 0), coalesce(r.trouble_topic, ''),
    coalesce(extract(epoch FROM clock_timestamp() - r.trouble_since), -1),
    r.trouble_attempts,
    greatest(0, coalesce(extract(epoch FROM r.trouble_next_try - clock_timestamp()), 0)),
    r.trouble_halted
FROM outbox.relay r
JOIN outbox.lane l ON l.relay = r.name AND l.id = 0
WHERE r.name = $1
