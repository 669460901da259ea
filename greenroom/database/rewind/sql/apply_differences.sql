DELETE FROM {seed} AS a WHERE EXISTS (SELECT FROM pg_temp.greenroom_gone AS b WHERE a *= b);
INSERT INTO {seed} TABLE pg_temp.greenroom_added;
