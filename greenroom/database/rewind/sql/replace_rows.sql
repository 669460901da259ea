DELETE FROM ONLY {table}; {counted}
INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE SELECT {values} FROM {seed} AS seed;
