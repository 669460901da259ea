-- The highest copy of each table; restoration.py names them.
SELECT split_part(relname, '_', 2)::bigint AS oid, max(split_part(relname, '_', 3)::int) AS depth
  FROM pg_class WHERE relnamespace = 'greenroom'::regnamespace AND relkind = 'r' AND relname LIKE 'seed\_%'
 GROUP BY 1
