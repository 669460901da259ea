"""Preparing a migrated database to be rewound: what is cloned from it is prepared, too.

Into it goes a schema `greenroom` with

* a trigger on each table that notes, once per transaction, that the table was written to: through whichever
  connection, and by whichever statement, TRUNCATE and COPY included;
* an event trigger that notes commands that change the schema, which a rewind cannot undo;
* a copy of the rows of each table that has any (the seeds), and of the state of each sequence;
* one function that empties the tables that were noted, puts the seeds back, and resets the sequences.

The function's statements are fixed here, so that each is planned once per connection, and only those of noted tables
are ever executed. Foreign keys, and the application's triggers and rules, do not fire meanwhile, so that neither the
order of tables nor cycles matter (session_replication_role, which the admin may set).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from greenroom.database.restoration import TEXT, copy_rows, in_groups, listed, restoration
from greenroom.errors import RewindError
from greenroom.urls import conninfo

if TYPE_CHECKING:
    from sqlalchemy import URL

_TABLES: Final = """
SELECT c.oid::bigint, n.nspname, c.relname, c.relkind = 'r' AS holds_rows,
       ARRAY(SELECT attname::text FROM pg_attribute
              WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum) AS columns,
       ARRAY(SELECT attname::text FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY (indkey)
              WHERE indrelid = c.oid AND indisprimary) AS key,
       (SELECT coalesce(jsonb_object_agg(attname, ARRAY[tn.nspname, typname]), '{}')
          FROM pg_attribute JOIN pg_type AS t ON t.oid = atttypid JOIN pg_namespace AS tn ON tn.oid = typnamespace
         WHERE attrelid = c.oid AND attnum > 0 AND tn.nspname <> 'pg_catalog') AS types,
       ARRAY(WITH RECURSIVE above(oid) AS (
                 SELECT c.oid UNION SELECT inhparent FROM pg_inherits JOIN above ON inhrelid = above.oid)
             SELECT oid::bigint FROM above) AS named_by,
       EXISTS (SELECT FROM pg_trigger WHERE tgrelid = c.oid AND NOT tgisinternal AND tgenabled IN ('A', 'R'))
       OR EXISTS (SELECT FROM pg_rewrite WHERE ev_class = c.oid AND ev_enabled IN ('A', 'R')) AS is_loud
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
   AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'greenroom')
 ORDER BY c.oid"""

_SEQUENCES: Final = """
SELECT c.oid::bigint, n.nspname, c.relname, seqcache > 1 AS cached
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_sequence ON seqrelid = c.oid
 WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND n.nspname <> 'greenroom'
 ORDER BY c.oid"""

_SCHEMA: Final = """
CREATE SCHEMA greenroom;
GRANT USAGE ON SCHEMA greenroom TO PUBLIC;

-- Which tables were written to, by oid; 0 stands for the schema, and 1 for a connection that has a temporary table,
-- which would still be there for the next test. A table, and
-- not a sequence or a lock, since what a transaction noted must vanish with it. Nothing is unique in it, so that two
-- transactions never wait for each other.
CREATE UNLOGGED TABLE greenroom.touched (relation oid NOT NULL);

-- Runs with the rights of its owner: the application's role cannot write to the table itself.
CREATE FUNCTION greenroom.touch() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    -- A serializable transaction that has read this table could fail for what another one adds to it.
    IF pg_catalog.current_setting('transaction_isolation') OPERATOR(pg_catalog.=) 'serializable'
       OR NOT EXISTS (SELECT FROM greenroom.touched WHERE relation OPERATOR(pg_catalog.=) TG_RELID) THEN
        INSERT INTO greenroom.touched VALUES (TG_RELID);
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION greenroom.touch_schema() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    lasting boolean := false;
    temporary boolean := false;
BEGIN
    IF TG_EVENT OPERATOR(pg_catalog.=) 'sql_drop' THEN
        SELECT bool_or(NOT is_temporary) INTO lasting FROM pg_catalog.pg_event_trigger_dropped_objects();
    ELSE
        SELECT bool_or(schema_name IS DISTINCT FROM 'pg_temp'), bool_or(schema_name OPERATOR(pg_catalog.=) 'pg_temp')
          INTO lasting, temporary FROM pg_catalog.pg_event_trigger_ddl_commands();
    END IF;
    INSERT INTO greenroom.touched SELECT 0 WHERE lasting UNION ALL SELECT 1 WHERE temporary;
END $$;

-- The state of each sequence in the template.
CREATE TABLE greenroom.sequences (
    sequence oid PRIMARY KEY, last_value bigint, is_called boolean NOT NULL,
    cached boolean NOT NULL  -- a connection keeps some of its values, and hands them out whatever becomes of it
);

-- What can be changed without a trigger's notice: the database itself, settings of it and of its role, and large objects.
CREATE FUNCTION greenroom.surroundings() RETURNS text LANGUAGE sql STABLE AS $$
    SELECT concat_ws('|', datallowconn, datconnlimit, datistemplate, datacl,
           (SELECT description FROM pg_shdescription WHERE objoid = d.oid AND classoid = 'pg_database'::regclass),
           (SELECT string_agg(format('%s %s %s', setdatabase, setrole, setconfig), ' ' ORDER BY setdatabase, setrole)
              FROM pg_db_role_setting WHERE setdatabase = d.oid OR setdatabase = 0 AND setrole = d.datdba),
           (SELECT format('%s %s', count(*), sum(oid::bigint)) FROM pg_largeobject_metadata),
           (SELECT format('%s %s', count(*), sum(xmin::text::bigint)) FROM pg_largeobject))
      FROM pg_database AS d WHERE datname = current_database() $$;
"""

_EVENT_TRIGGERS: Final = """
CREATE EVENT TRIGGER greenroom_changed ON ddl_command_end EXECUTE FUNCTION greenroom.touch_schema();
CREATE EVENT TRIGGER greenroom_dropped ON sql_drop EXECUTE FUNCTION greenroom.touch_schema();
ALTER EVENT TRIGGER greenroom_changed ENABLE ALWAYS;
ALTER EVENT TRIGGER greenroom_dropped ENABLE ALWAYS;
"""

_TRIGGER: Final = """
CREATE TRIGGER greenroom_touch AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table}
    FOR EACH STATEMENT WHEN (pg_catalog.current_setting('greenroom.rewinding', true) IS NULL)
    EXECUTE FUNCTION greenroom.touch();
ALTER TABLE {table} ENABLE ALWAYS TRIGGER greenroom_touch;
"""

# What is left of the test in other connections comes first: while a transaction is open, its rows cannot be seen, let
# alone deleted. pg_stat_get_activity itself, because the view joins two catalogs for names that nobody reads.
# A table whose triggers fire even now, or a change of what no trigger sees, is not worth a rewind: a clone is exact.
# It returns JSON where there is something to say, and NULL after nearly every test.
_REWIND: Final = """
CREATE FUNCTION greenroom.rewind(surroundings text) RETURNS text LANGUAGE plpgsql AS $rewind$
DECLARE
    here CONSTANT oid := (SELECT oid FROM pg_database WHERE datname = current_database());
    dirty oid[];
    leftovers jsonb;
    these bigint;
    deleted bigint := 0;
    cached boolean;
BEGIN
    SELECT jsonb_agg(jsonb_build_object(
               'pid', pid, 'state', state, 'query', query,
               'age', extract(epoch FROM clock_timestamp() - coalesce(xact_start, state_change)),
               'holds', CASE WHEN state = 'idle' THEN 'an advisory lock' END))
      INTO leftovers
      FROM pg_stat_get_activity(NULL)
     WHERE datid = here AND pid <> pg_backend_pid() AND backend_type = 'client backend'
       AND (state <> 'idle' OR pid IN (SELECT pid FROM pg_lock_status() WHERE locktype = 'advisory' AND database = here)
            AND NOT pid = ANY (coalesce(nullif(current_setting('greenroom.holders', true), ''), '{{}}')::int[]));
    IF EXISTS (SELECT FROM pg_prepared_xact() WHERE dbid = here) THEN
        SELECT coalesce(leftovers, '[]') || jsonb_agg(jsonb_build_object(
                   'gid', gid, 'state', 'prepared', 'query', format('PREPARE TRANSACTION %L', gid),
                   'age', extract(epoch FROM clock_timestamp() - prepared)))
          INTO leftovers FROM pg_prepared_xact() WHERE dbid = here;
    END IF;
    IF leftovers IS NOT NULL THEN
        RETURN jsonb_build_object('leftovers', leftovers);
    END IF;
    -- In one statement: what a task that still runs notes after it is the next rewind's.
    WITH noted AS (DELETE FROM greenroom.touched RETURNING relation) SELECT array_agg(DISTINCT relation) INTO dirty FROM noted;
    IF dirty && ARRAY[{beyond}]::oid[] OR surroundings IS DISTINCT FROM greenroom.surroundings() THEN
        RETURN '{{"beyond": true}}';
    END IF;
    IF dirty IS NOT NULL THEN
{tables}    END IF;
    SELECT bool_or(CASE WHEN setval(sequence::regclass, coalesce(last_value, start), is_called) IS NOT NULL THEN moved END)
      INTO cached FROM ({sequences}) AS changed;
    IF cached OR 1 = ANY (dirty) OR deleted > {many} THEN
        RETURN jsonb_build_object(
            'connections', coalesce(cached OR 1 = ANY (dirty), false), 'vacuum', deleted > {many});
    END IF;
    RETURN NULL;
END $rewind$;
"""

_CHANGED_SEQUENCES: Final = """
        SELECT s.sequence, s.last_value, s.is_called, NULL::bigint AS start, s.cached AS moved
          FROM greenroom.sequences AS s, pg_get_sequence_data(s.sequence::regclass) AS now
         WHERE (now.last_value, now.is_called) IS DISTINCT FROM (s.last_value, s.is_called)"""

# Before 18, a sequence that was set but not called looks the same to a function as one that is new; so those that the
# template has not called are set each time.
_CHANGED_SEQUENCES_BEFORE_18: Final = """
        SELECT s.sequence, s.last_value, s.is_called, q.seqstart AS start,
               s.cached AND pg_sequence_last_value(s.sequence::regclass) IS NOT NULL AS moved
          FROM greenroom.sequences AS s JOIN pg_sequence AS q ON q.seqrelid = s.sequence
         WHERE NOT s.is_called OR pg_sequence_last_value(s.sequence::regclass) IS DISTINCT FROM s.last_value"""


_MANY: Final = 10_000
"""Rows deleted by one rewind from which on their space should be had back at once."""


def prepare(url: URL) -> None:
    """Prepare a migrated database to be rewound.

    Args:
        url: The database, as the admin.

    Raises:
        RewindError: The admin's role may not do what a rewind needs.
    """
    with psycopg.connect(conninfo(url), autocommit=False, options=TEXT) as connection:
        try:
            _prepare(connection)
        except psycopg.errors.InsufficientPrivilege as error:
            raise RewindError(
                f"The admin's role {url.username!r} may not prepare the rewind: {error.diag.message_primary}. It must be "
                f"a superuser, since only one may switch foreign keys off for a moment and see changes of the schema.",
                hint="name a superuser in the server's URL; the service images of CI systems have one",
            ) from None


def _prepare(connection: psycopg.Connection[Any]) -> None:
    connection.execute(_SCHEMA)
    with connection.cursor(row_factory=dict_row) as cursor:
        tables = cursor.execute(_TABLES).fetchall()
        sequences = cursor.execute(_SEQUENCES).fetchall()
    beyond, statements = [0], []
    for row in tables:
        table = sql.Identifier(row["nspname"], row["relname"])
        connection.execute(sql.SQL(_TRIGGER).format(table=table))
        if row["is_loud"]:
            beyond += row["named_by"]
        if row["holds_rows"]:
            statements.append(
                (
                    row["named_by"],
                    restoration(table, row, seed=copy_rows(connection, table, row)),
                )
            )
    for row in sequences:
        connection.execute(
            sql.SQL("INSERT INTO greenroom.sequences SELECT {}, last_value, is_called, {} FROM {}").format(
                row["oid"], row["cached"], sql.Identifier(row["nspname"], row["relname"])
            )
        )
    changed = _CHANGED_SEQUENCES if connection.info.server_version >= 180000 else _CHANGED_SEQUENCES_BEFORE_18
    connection.execute(
        sql.SQL(_REWIND).format(
            beyond=listed(beyond), tables=in_groups(statements), sequences=sql.SQL(changed), many=_MANY
        )
    )
    connection.execute(_EVENT_TRIGGERS)
    # A right that the rewind needs and that would otherwise be missed only after the first test.
    connection.execute("SET LOCAL session_replication_role = replica")
