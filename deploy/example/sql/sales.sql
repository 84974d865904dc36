-- A read model: what was sold, by product. After `outboxd migrate --inbox`, as the owner; harmless to run again.
CREATE SCHEMA IF NOT EXISTS shop;

CREATE TABLE IF NOT EXISTS shop.sale (
    product_id text PRIMARY KEY,
    orders     bigint NOT NULL,
    quantity   bigint NOT NULL,
    amount     bigint NOT NULL -- in minor units (cents)
) WITH (fillfactor = 50);

DO $roles$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'sales_service') THEN
        CREATE ROLE sales_service LOGIN;
    END IF;
END
$roles$;
GRANT inbox_consumer TO sales_service;
GRANT USAGE ON SCHEMA shop TO sales_service;
GRANT SELECT, INSERT, UPDATE ON shop.sale TO sales_service;
