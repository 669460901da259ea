-- How many sequences there are, and whether what the server has logged tells which have moved. A server that waits for its
-- disk would wait once more, and an unlogged table's sequence is not logged.
SELECT count(*),
       count(*) > %s AND count(*) FILTER (WHERE is_called) < %s AND bool_and(relpersistence = 'p')
       AND to_regproc('greenroom.wal') IS NOT NULL AND NOT current_setting('fsync')::boolean
  FROM greenroom.sequences JOIN pg_class ON pg_class.oid = sequence
