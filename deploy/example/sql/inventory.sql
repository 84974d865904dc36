-- The inventory service's tables. After `outboxd migrate` and `outboxd migrate --inbox`, as the owner; harmless to run again.
CREATE SCHEMA IF NOT EXISTS shop;

-- What came in is available, reserved for an order, or sold: nothing else can become of it.
CREATE TABLE IF NOT EXISTS shop.stock (
    product_id text PRIMARY KEY,
    received   bigint NOT NULL,
    available  bigint NOT NULL CHECK (available >= 0),
    reserved   bigint NOT NULL DEFAULT 0 CHECK (reserved >= 0),
    sold       bigint NOT NULL DEFAULT 0 CHECK (sold >= 0),
    CONSTRAINT stock_is_conserved CHECK (received = available + reserved + sold)
) WITH (fillfactor = 50); -- a few rows that change all the time

CREATE TABLE IF NOT EXISTS shop.reservation (
    order_id   text PRIMARY KEY,
    state      text NOT NULL CHECK (state IN ('RESERVED', 'FAILED', 'RELEASED', 'SOLD')),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE IF NOT EXISTS shop.reservation_item (
    order_id   text NOT NULL REFERENCES shop.reservation,
    product_id text NOT NULL,
    quantity   bigint NOT NULL CHECK (quantity > 0),
    PRIMARY KEY (order_id, product_id)
);

DO $roles$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'inventory_service') THEN
        CREATE ROLE inventory_service LOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'outboxd') THEN
        CREATE ROLE outboxd LOGIN;
    END IF;
END
$roles$;
GRANT outbox_writer, inbox_consumer TO inventory_service;
GRANT outbox_relay TO outboxd;
GRANT USAGE ON SCHEMA shop TO inventory_service;
GRANT SELECT, UPDATE ON shop.stock TO inventory_service;
GRANT SELECT, INSERT, UPDATE ON shop.reservation TO inventory_service;
GRANT SELECT, INSERT ON shop.reservation_item TO inventory_service;
