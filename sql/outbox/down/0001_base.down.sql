-- migrate:down
-- Drops the schema outbox with every event in it, sent or not. Roles stay: other databases of the server may use them.
-- Objects of your own that hang on these tables make it fail: nothing cascades.
DROP TABLE IF EXISTS outbox.dead;
DROP TABLE IF EXISTS outbox.lane;
DROP TABLE IF EXISTS outbox.relay;
DROP TABLE IF EXISTS outbox.event;
DROP FUNCTION IF EXISTS outbox.rebase(text, text);
DROP FUNCTION IF EXISTS outbox.make_relay(text, text, integer);
DROP FUNCTION IF EXISTS outbox.position_of(text);
DROP FUNCTION IF EXISTS outbox.ensure_days(integer);
DROP FUNCTION IF EXISTS outbox.make_day(date);
DROP FUNCTION IF EXISTS outbox.publish(text, text, text, json, json, text, timestamptz, uuid, text, text, bytea, text);
DROP FUNCTION IF EXISTS outbox.commit_durably();
DROP FUNCTION IF EXISTS outbox.new_event_id();
DROP TABLE IF EXISTS outbox.migration;
DROP SCHEMA IF EXISTS outbox;
