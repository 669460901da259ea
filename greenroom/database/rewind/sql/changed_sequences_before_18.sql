-- Before 18, a sequence that was set but not called looks the same to a function as one that is new; so those that the
-- template has not called are set each time.
SELECT s.sequence, s.last_value, s.is_called, q.seqstart AS start,
       s.cached AND pg_sequence_last_value(s.sequence::regclass) IS NOT NULL AS moved
  FROM greenroom.sequences AS s JOIN pg_sequence AS q ON q.seqrelid = s.sequence
 WHERE NOT s.is_called OR pg_sequence_last_value(s.sequence::regclass) IS DISTINCT FROM s.last_value
