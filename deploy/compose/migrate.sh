#!/bin/sh
# What the databases of the example need, each time anew without harm: outbox and inbox, the tables of the services, and
# passwords. As superuser, by the libpq environment (PGHOST, PGUSER, PGPASSWORD); SQL: the folder of the services' tables.
set -eu
sql=${SQL:-/usr/share/outboxd/example/sql}
config=${CONFIG:-/etc/outboxd/outboxd.yaml}

# The password stays out of the arguments, which everybody may see.
run_sql() {
    psql -X -q -v ON_ERROR_STOP=1 "$@"
}

# database SERVICE DATABASE [outbox]: the service's relay has the name of the service
database() {
    echo "migrate: database $2 of $1"
    echo "SELECT 'CREATE DATABASE $2' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '$2') \\gexec" | run_sql -d postgres
    if [ "${3:-}" = outbox ]; then
        RELAY=$1 DATABASE=$2 outboxd migrate -c "$config" --url "dbname=$2"
    fi
    outboxd migrate --inbox --url "dbname=$2"
    run_sql -1 -d "$2" -f "$sql/$1.sql"
}

# login ROLE: the role of a program, made by the tables' SQL without a password
login() {
    printf '%s\n' '\getenv password DB_PASSWORD' "ALTER ROLE $1 PASSWORD :'password';" | run_sql -d postgres
}

database order orders outbox
database inventory inventory outbox
database payment payments outbox
database notification notifications
for role in order_service inventory_service payment_service notification_service outboxd; do
    login "$role"
done

# Something to sell; every tenth order or so finds no sugar.
echo "INSERT INTO shop.stock (product_id, received, available)
      VALUES ('tea', 100000, 100000), ('coffee', 100000, 100000), ('sugar', 1000, 1000) ON CONFLICT DO NOTHING" |
    run_sql -d inventory
echo "migrate: done"
