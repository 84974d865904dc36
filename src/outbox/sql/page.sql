-- The next rows of a backlog, in id order: :branches are page_stragglers.sql and one of page_new_by_*.sql. Of a lane they
-- are lane_stragglers.sql and one of lane_new_by_*.sql, and :more_columns their column "last".
-- An event whose payload and headers are above :max_event_bytes comes without them, and with its size. Its stored size is
-- asked first; the true one matters only when the stored one, unpacked by the best ratio of pglz and lz4 (255), can reach
-- the limit. Both are asked in one layer, because each layer costs every row a copy of its columns; OFFSET 0 keeps the
-- planner from asking twice where it is dear.
SET LOCAL statement_timeout = 0;
COPY (
SELECT id, event_id, aggregate_type, aggregate_id, event_type, event_version,
    CASE WHEN oversize = 0 THEN payload END, CASE WHEN oversize = 0 THEN payload_bytes END, content_type,
    CASE WHEN oversize = 0 THEN headers END, topic, partition_key, occurred_at, created_at, oversize:more_columns
FROM (
    SELECT u.*, CASE
        WHEN coalesce(pg_column_size(payload), 0)::bigint + coalesce(pg_column_size(payload_bytes), 0)
            + coalesce(pg_column_size(headers), 0) <= :max_event_bytes / 256 THEN 0
        ELSE (
            SELECT CASE
                WHEN stored > :max_event_bytes THEN stored
                ELSE (
                    SELECT CASE WHEN n > :max_event_bytes THEN n ELSE 0 END
                    FROM (SELECT coalesce(octet_length(payload::text), 0)::bigint + coalesce(octet_length(payload_bytes), 0)
                        + coalesce(octet_length(headers::text), 0) AS n OFFSET 0) AS octets) END
            FROM (SELECT coalesce(pg_column_size(payload), 0)::bigint + coalesce(pg_column_size(payload_bytes), 0)
                + coalesce(pg_column_size(headers), 0) AS stored OFFSET 0) AS sizes)
        END AS oversize
    FROM (:branches) AS u ORDER BY id LIMIT :max_rows) AS sized
ORDER BY id
) TO STDOUT (FORMAT binary)
