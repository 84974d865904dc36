-- The payment service's table. After `outboxd migrate` and `outboxd migrate --inbox`, as the owner; harmless to run again.
CREATE SCHEMA IF NOT EXISTS shop;

-- One row for each order. Money has been taken for the confirmed ones; amounts are in minor units (cents).
CREATE TABLE IF NOT EXISTS shop.charge (
    order_id    text PRIMARY KEY,
    customer_id text NOT NULL,
    amount      bigint NOT NULL,
    state       text NOT NULL CHECK (state IN ('CONFIRMED', 'DECLINED')),
    created_at  timestamptz NOT NULL DEFAULT now()
);

DO $roles$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'payment_service') THEN
        CREATE ROLE payment_service LOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'outboxd') THEN
        CREATE ROLE outboxd LOGIN;
    END IF;
END
$roles$;
GRANT outbox_writer, inbox_consumer TO payment_service;
GRANT outbox_relay TO outboxd;
GRANT USAGE ON SCHEMA shop TO payment_service;
GRANT SELECT, INSERT ON shop.charge TO payment_service;
