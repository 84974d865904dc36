-- How many days retention should have taken away, and whether the default partition holds rows.
SELECT count(*) FILTER (WHERE d.day IS NOT NULL), count(*) FILTER (WHERE d.day IS NULL)
FROM outbox.overdue_days(nullif(:keep_ms::bigint, 0) * interval '1 millisecond') AS d
