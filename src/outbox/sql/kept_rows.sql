-- Rows of the kept log with what the relay's position says about each, in the order of enum row_column and one column
-- more: :from_rows are the rows of a page or the new ones.
COPY (
SELECT id, event_id, aggregate_type, aggregate_id, event_type, event_version, :payload, topic, partition_key,
    occurred_at, created_at, 0::bigint,
    CASE WHEN NOT (:settled) THEN 'u' WHEN id IN (SELECT row_id FROM outbox.dead WHERE relay = :relay) THEN 'd'
        ELSE 's' END
FROM (:from_rows) AS e
WHERE id >= :id_from AND id <= :id_to:time:match
:order_by) TO STDOUT (FORMAT binary)
