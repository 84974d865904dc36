-- migrate:down
-- Drops the schema inbox and with it all memory of what was taken: events that Kafka delivers again take effect again.
-- Roles stay: other databases of the server may use them. Objects of your own that hang on these tables make it fail:
-- nothing cascades.
DROP PROCEDURE IF EXISTS inbox.purge_all(interval, integer);
DROP FUNCTION IF EXISTS inbox.purge(interval, integer, text);
DROP FUNCTION IF EXISTS inbox.purge_consumer(text, interval, integer);
DROP FUNCTION IF EXISTS inbox.version();
DROP FUNCTION IF EXISTS inbox.set_window(text, interval);
DROP FUNCTION IF EXISTS inbox.clear_failure(text, uuid[]);
DROP FUNCTION IF EXISTS inbox.record_failure(text, uuid, text, text, integer, timestamptz, boolean, text, integer, bigint, text);
DROP FUNCTION IF EXISTS inbox.claim_all(text, uuid[], timestamptz[], boolean);
DROP FUNCTION IF EXISTS inbox.claim(text, uuid, timestamptz, boolean);
DROP FUNCTION IF EXISTS inbox.horizon(text);
DROP FUNCTION IF EXISTS inbox.check_consumer(text);
DROP VIEW IF EXISTS inbox.state;
DROP TABLE IF EXISTS inbox.failure;
DROP TABLE IF EXISTS inbox.consumer;
DROP TABLE IF EXISTS inbox.claimed;
DROP TABLE IF EXISTS inbox.migration;
DROP SCHEMA IF EXISTS inbox;
