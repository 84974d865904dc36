#!/bin/sh
# Prints C on stdout: the migrations of sql/outbox and sql/inbox and the queries of src/outbox/sql, as tables that sql_texts.h declares.
# The texts become arrays of octal characters, because C promises no string literal longer than 4095 bytes.
# Fails when a migration has no way back, or its first line does not say what it is.
set -eu
LC_ALL=C
export LC_ALL
cd "$(dirname "$0")/../.."

fail() {
    echo "embed.sh: $1" >&2
    exit 1
}

# A file as a NUL-terminated array: embed ARRAY_NAME FILE
embed() {
    printf '\n/* %s */\nstatic const char %s[] = {\n' "$2" "$1"
    od -An -v -t o1 "$2" | awk '{ for (i = 1; i <= NF; i++) printf "\047\\%s\047,", $i; print "" }'
    printf "'\\\\0'};\n"
}

expect_first_line() {
    IFS= read -r line < "$1" || fail "$1 is empty"
    [ "$line" = "$2" ] || fail "$1: the first line must be \"$2\""
}

printf '/* Made by src/outbox/embed.sh from the SQL files named below. */\n#include "outbox/sql_texts.h"\n'

# The arrays of one folder's migrations, and their table in the variable "table": migrations_of FOLDER
migrations_of() {
    table=
    for up in sql/"$1"/[0-9]*_*.up.sql; do
        stem=$(basename "$up" .up.sql)
        down=sql/$1/down/$stem.down.sql
        [ -f "$down" ] || fail "$up has no way back: $down is missing"
        expect_first_line "$up" '-- migrate:up'
        expect_first_line "$down" '-- migrate:down'
        version=$(echo "${stem%%_*}" | sed 's/^0*//')
        embed "up_$version" "$up"
        embed "down_$version" "$down"
        table="$table    {$version, \"${stem#*_}\", up_$version, down_$version},
"
    done
}

migrations_of outbox
migrations=$table
migrations_of inbox
inbox_migrations=$table
queries=
for query in src/outbox/sql/*.sql; do
    [ -f "$query" ] || continue
    name=$(basename "$query" .sql)
    embed "query_$name" "$query"
    queries="$queries    {\"$name\", query_$name},
"
done

printf '\nconst struct sql_migration sql_migrations[] = {\n%s    {0, NULL, NULL, NULL},\n};\n' "$migrations"
printf 'const size_t sql_migration_count = ARRAY_LEN(sql_migrations) - 1;\n'
printf '\nconst struct sql_migration sql_inbox_migrations[] = {\n%s    {0, NULL, NULL, NULL},\n};\n' "$inbox_migrations"
printf 'const size_t sql_inbox_migration_count = ARRAY_LEN(sql_inbox_migrations) - 1;\n'
printf '\nconst struct sql_query_text sql_queries[] = {\n%s    {NULL, NULL},\n};\n' "$queries"
printf 'const size_t sql_query_count = ARRAY_LEN(sql_queries) - 1;\n'
