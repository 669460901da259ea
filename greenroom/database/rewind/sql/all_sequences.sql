-- Those that are called, always: one that was set back and then drawn from may be where it was, and would not log the next value.
SELECT s.sequence, s.last_value, s.is_called,
       s.cached AND ((s.now).is_called <> s.is_called OR (s.now).last_value IS DISTINCT FROM s.last_value) AS moved
  FROM (SELECT *, pg_get_sequence_data(sequence::regclass) AS now FROM greenroom.sequences OFFSET 0) AS s
 WHERE s.is_called OR (s.now).is_called OR (s.now).last_value IS DISTINCT FROM s.last_value
