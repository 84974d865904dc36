-- The lanes of relay $1, and with id 0 the relay itself: what is wrong with it is what halts it.
SELECT l.id, l.filter, coalesce(l.topic, ''), coalesce(l.key, ''), coalesce(l.partition, -1),
    coalesce(CASE l.id WHEN 0 THEN r.trouble_cause ELSE l.cause END, ''),
    coalesce(CASE l.id WHEN 0 THEN r.trouble_text ELSE l.error END, ''),
    coalesce(CASE l.id WHEN 0 THEN r.trouble_event_id ELSE l.event_id END::text, ''),
    coalesce(CASE l.id WHEN 0 THEN r.trouble_row_id ELSE l.row_id END, 0),
    coalesce(CASE l.id WHEN 0 THEN r.trouble_topic ELSE l.topic END, ''),
    CASE l.id WHEN 0 THEN r.trouble_attempts ELSE l.attempts END,
    greatest(0, coalesce(extract(epoch FROM CASE l.id WHEN 0 THEN r.trouble_next_try ELSE l.next_try END
        - clock_timestamp()), 0)),
    l.id = 0 AND r.trouble_halted,
    greatest(0, extract(epoch FROM clock_timestamp() - l.made_at)),
    coalesce(extract(epoch FROM clock_timestamp() - CASE l.id WHEN 0 THEN r.trouble_since ELSE l.since END), -1),
    coalesce(greatest(0, extract(epoch FROM clock_timestamp()
        - (SELECT e.created_at FROM outbox.event e WHERE e.id = l.row_id LIMIT 1))), -1),
    l.state = 'flowing', l.asked_at IS NOT NULL, coalesce(l.asked_by, '')
FROM outbox.relay r JOIN outbox.lane l ON l.relay = r.name
WHERE r.name = $1
ORDER BY l.id
