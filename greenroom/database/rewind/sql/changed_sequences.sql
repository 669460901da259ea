SELECT s.sequence, s.last_value, s.is_called, NULL::bigint AS start, s.cached AS moved
  FROM greenroom.sequences AS s, pg_get_sequence_data(s.sequence::regclass) AS now
 WHERE (now.last_value, now.is_called) IS DISTINCT FROM (s.last_value, s.is_called)
