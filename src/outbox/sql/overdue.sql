-- What is overdue when days are kept for $1 milliseconds after their end; 0: for ever.
SELECT partition_name, bytes, reason FROM outbox.overdue_days(nullif($1::bigint, 0) * interval '1 millisecond')
