-- The notification service's table. After `outboxd migrate --inbox`, as the owner; harmless to run again. It publishes nothing,
-- so it needs no schema outbox.
CREATE SCHEMA IF NOT EXISTS shop;

CREATE TABLE IF NOT EXISTS shop.message (
    order_id    text PRIMARY KEY,
    customer_id text NOT NULL,
    kind        text NOT NULL CHECK (kind IN ('SHIPPED', 'CANCELLED')),
    text        text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now()
);

DO $roles$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'notification_service') THEN
        CREATE ROLE notification_service LOGIN;
    END IF;
END
$roles$;
GRANT inbox_consumer TO notification_service;
GRANT USAGE ON SCHEMA shop TO notification_service;
GRANT SELECT, INSERT ON shop.message TO notification_service;
