SELECT c.oid::bigint, n.nspname, c.relname, c.relkind = 'r' AS holds_rows,
       ARRAY(SELECT attname::text FROM pg_attribute
              WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum) AS columns,
       ARRAY(SELECT attname::text FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY (indkey)
              WHERE indrelid = c.oid AND indisprimary) AS key,
       (SELECT coalesce(jsonb_object_agg(attname, ARRAY[tn.nspname, typname]), '{}')
          FROM pg_attribute JOIN pg_type AS t ON t.oid = atttypid JOIN pg_namespace AS tn ON tn.oid = typnamespace
         WHERE attrelid = c.oid AND attnum > 0 AND tn.nspname <> 'pg_catalog') AS types,
       ARRAY(WITH RECURSIVE above(oid) AS (
                 SELECT c.oid UNION SELECT inhparent FROM pg_inherits JOIN above ON inhrelid = above.oid)
             SELECT oid::bigint FROM above) AS named_by,
       EXISTS (SELECT FROM pg_trigger WHERE tgrelid = c.oid AND NOT tgisinternal AND tgenabled IN ('A', 'R')
                  AND tgname <> 'greenroom_touch')
       OR EXISTS (SELECT FROM pg_rewrite WHERE ev_class = c.oid AND ev_enabled IN ('A', 'R')) AS is_loud,
       EXISTS (SELECT FROM pg_trigger WHERE tgrelid = c.oid AND tgname = 'greenroom_touch') AS is_enrolled
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
   AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'greenroom')
 ORDER BY c.oid
