SELECT c.oid::bigint, n.nspname, c.relname, seqcache > 1 AS cached
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_sequence ON seqrelid = c.oid
 WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND n.nspname <> 'greenroom'
 ORDER BY c.oid
