-- What is as in the template stays where it is. *= compares the stored images, so it does for types without an = as well.
DELETE FROM ONLY {table} AS found
 WHERE NOT EXISTS (SELECT FROM {seed} AS seed WHERE {same_key} AND {same_row}); {counted}
INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE SELECT {values} FROM {seed} AS seed
 WHERE NOT EXISTS (SELECT FROM ONLY {table} AS found WHERE {same_key});
