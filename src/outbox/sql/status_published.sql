-- How many events the relay $1 has published and stored, and the time it is, in seconds since 1970: two looks make a rate.
-- NULL where the schema does not count them.
SELECT sum((to_jsonb(l) ->> 'published')::bigint), extract(epoch FROM clock_timestamp())
FROM outbox.lane l WHERE l.relay = $1
