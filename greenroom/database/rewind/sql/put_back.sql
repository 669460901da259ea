    SELECT bool_or(CASE WHEN setval(sequence::regclass, coalesce(last_value, start), is_called) IS NOT NULL THEN moved END)
      INTO cached FROM ({changed}) AS changed;
