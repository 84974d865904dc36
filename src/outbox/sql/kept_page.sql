-- The next page of the kept log: how many ids it has, and the last one.
SELECT count(*), coalesce(max(id), 0)
FROM (SELECT id FROM outbox.event WHERE id > :after AND id <= :id_to:time ORDER BY id LIMIT :page_rows) AS p
