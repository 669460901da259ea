-- *= compares the stored images, so it does for types without an = as well.
CREATE TEMPORARY TABLE greenroom_added AS SELECT * FROM {now} AS a WHERE NOT EXISTS (SELECT FROM {before} AS b WHERE a *= b);
CREATE TEMPORARY TABLE greenroom_gone AS SELECT * FROM {before} AS a WHERE NOT EXISTS (SELECT FROM {now} AS b WHERE a *= b);
