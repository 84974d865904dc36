-- One step for the first partition after :after. The limit holds for this statement.
SET LOCAL statement_timeout = :limit_ms;
SELECT partition_name, outcome FROM outbox.retire_next(:keep, :after)
