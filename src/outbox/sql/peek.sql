-- Before a look: has any transaction ended since the last one? If this is the same snapshot, nothing became visible.
SELECT pg_current_snapshot()::text
