-- Which of the days $1 (numbers since 1970-01-01, UTC) have rows: one look into each day's own partition.
SELECT d FROM unnest($1::integer[]) AS d,
    LATERAL (SELECT FROM outbox.event
             WHERE created_at >= to_timestamp(d * 86400.0) AND created_at < to_timestamp((d + 1) * 86400.0)
             LIMIT 1) AS e
