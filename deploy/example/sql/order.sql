-- The order service's tables. After `outboxd migrate` and `outboxd migrate --inbox`, as the owner; harmless to run again.
-- Amounts are in minor units (cents).
CREATE SCHEMA IF NOT EXISTS shop;

CREATE TABLE IF NOT EXISTS shop.orders (
    order_id        bigint GENERATED ALWAYS AS IDENTITY (START WITH 1001) PRIMARY KEY,
    customer_id     text NOT NULL,
    items           jsonb NOT NULL,
    total_amount    bigint NOT NULL,
    state           text NOT NULL DEFAULT 'PENDING' CHECK (state IN ('PENDING', 'PLACED', 'PAID', 'SHIPPED', 'CANCELLED')),
    reason          text,
    revision        integer NOT NULL DEFAULT 1, -- how many events this order has published; each carries its number
    idempotency_key text UNIQUE,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now()
);

-- What is ready to be shipped.
CREATE INDEX IF NOT EXISTS orders_paid ON shop.orders (order_id) WHERE state = 'PAID';

-- The service may change its tables, claim events and publish some; the relay may read what was published.
DO $roles$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'order_service') THEN
        CREATE ROLE order_service LOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'outboxd') THEN
        CREATE ROLE outboxd LOGIN;
    END IF;
END
$roles$;
GRANT outbox_writer, inbox_consumer TO order_service;
GRANT outbox_relay TO outboxd;
GRANT USAGE ON SCHEMA shop TO order_service;
GRANT SELECT, INSERT, UPDATE ON shop.orders TO order_service;
