-- The branches of a lane's page when there are stragglers. They often fill it: then nothing of the new rows behind the last
-- one is looked at, nor behind the bound of the stragglers (lane_until.sql), which ends the page.
WITH stragglers AS MATERIALIZED (:stragglers)
SELECT * FROM stragglers UNION ALL :new_rows
