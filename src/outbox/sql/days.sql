-- The partitions of today and :days days ahead; what is there is only looked at. The limit holds for this statement.
SET LOCAL statement_timeout = :limit_ms;
SELECT partition_name, outcome FROM outbox.ensure_days(:days)
