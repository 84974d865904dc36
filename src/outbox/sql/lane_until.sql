-- How far new rows matter beside the stragglers (lane_both.sql).
(SELECT least(min(s.id) FILTER (WHERE s.last <> 0), CASE WHEN count(*) >= :max_rows THEN max(s.id) END,
    9223372036854775807) FROM stragglers AS s)
