-- What became visible since a snapshot: two conditions that exclude each other, because an OR would find no index.
SELECT * FROM outbox.event WHERE xid >= :xmax
UNION ALL
SELECT * FROM outbox.event WHERE xid = ANY (:xip)
