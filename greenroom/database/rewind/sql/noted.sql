-- 1 is for a temporary table, which a fixture of wider scope keeps on purpose, and 2 for a TRUNCATE.
WITH noted AS (DELETE FROM greenroom.touched RETURNING relation) SELECT DISTINCT relation::bigint FROM noted WHERE relation NOT IN (1, 2)
