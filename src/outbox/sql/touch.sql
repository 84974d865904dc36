-- A sign of life: the doorbell's session ends when it misses two.
SELECT 1
