-- Whether migration 0003 is there. Only the catalog: a call of what is missing would be an error in the server's log, hourly.
SELECT to_regprocedure('outbox.retire_next(interval,text)') IS NOT NULL
