"""Bring a database back to the template's state after a test.

`prepare` puts into the template what a rewind needs, so that each clone has it:

* a trigger on each table that notes, once per transaction, that the table was written to: through whichever
  connection, and by whichever statement, TRUNCATE and COPY included;
* an event trigger that notes commands that change the schema, which a rewind cannot undo;
* a copy of the rows of each table that has any (the seeds), and of the state of each sequence;
* one function, sql/rewind.sql, that empties the noted tables, puts the seeds back (`restoration`), and resets the
  sequences.

The function's statements are fixed when it is made, so that each is planned once per connection, and only those of noted
tables are ever executed. Foreign keys, and the application's triggers and rules, do not fire meanwhile, so that neither
the order of tables nor cycles matter (session_replication_role, which the admin may set).

`Rewinder` calls the function, in one round trip. `Baselines` makes it rewind to what fixtures of wider scope have written,
instead of to the template's rows, by putting other copies in their place.

Whoever changes what `prepare` makes counts `fingerprint.FORMAT` up: templates that are there are of the old kind.
"""
