"""Bringing a database back to the template's state after a test, in one round trip.

Into the template goes a schema `greenroom` with

* a trigger on each table that notes, once per transaction, that the table was written to: through whichever
  connection, and by whichever statement, TRUNCATE and COPY included;
* an event trigger that notes commands that change the schema, which a rewind cannot undo;
* a copy of the rows of each table that has any (the seeds), and of the state of each sequence;
* one function that empties the tables that were noted, puts the seeds back, and resets the sequences.

The function's statements are fixed when the template is built, so that each is planned once per connection, and only
those of noted tables are ever executed. Foreign keys and the application's triggers do not fire meanwhile, so that
neither the order of tables nor cycles matter (session_replication_role, which the admin may set).
"""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from greenroom.errors import LeftoverError, RewindError
from greenroom.urls import conninfo

if TYPE_CHECKING:
    from sqlalchemy import URL

SCHEMA: Final = "greenroom"

PATIENCE: Final = 1.0
"""Seconds that a transaction of the application may still take after the test has ended."""

_VACUUM_EVERY: Final = 100
"""Rewinds between two VACUUMs of what they touched. Emptied tables keep their dead rows until then."""

_TABLES: Final = """
SELECT c.oid::bigint, n.nspname, c.relname, c.relkind = 'r' AS holds_rows,
       ARRAY(SELECT quote_ident(attname) FROM pg_attribute
              WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum) AS columns,
       ARRAY(WITH RECURSIVE above(oid) AS (
                 SELECT c.oid UNION SELECT inhparent FROM pg_inherits JOIN above ON inhrelid = above.oid)
             SELECT oid::bigint FROM above) AS named_by
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
   AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'greenroom')
 ORDER BY c.oid"""

_SEQUENCES: Final = """
SELECT c.oid::bigint, n.nspname, c.relname
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND n.nspname <> 'greenroom'
 ORDER BY c.oid"""

_SCHEMA: Final = """
CREATE SCHEMA greenroom;
GRANT USAGE ON SCHEMA greenroom TO PUBLIC;

-- Which tables were written to; 0 stands for the schema itself. A table, and not a sequence or a lock, since what a
-- transaction noted must vanish with it. Nothing is unique in it, so that two transactions never wait for each other.
CREATE UNLOGGED TABLE greenroom.touched (relation oid NOT NULL);

-- Runs with the rights of its owner: the application's role cannot write to the table itself.
CREATE FUNCTION greenroom.touch() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM greenroom.touched WHERE relation OPERATOR(pg_catalog.=) TG_RELID) THEN
        INSERT INTO greenroom.touched VALUES (TG_RELID);
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION greenroom.touch_schema() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF TG_EVENT OPERATOR(pg_catalog.=) 'sql_drop' THEN
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_event_trigger_dropped_objects() WHERE NOT is_temporary) THEN
            RETURN;
        END IF;
    ELSIF NOT EXISTS (SELECT FROM pg_catalog.pg_event_trigger_ddl_commands()
                       WHERE schema_name IS NULL OR schema_name OPERATOR(pg_catalog.<>) 'pg_temp') THEN
        RETURN;
    END IF;
    INSERT INTO greenroom.touched VALUES (0);
END $$;

-- The state of each sequence in the template.
CREATE TABLE greenroom.sequences (sequence oid PRIMARY KEY, last_value bigint, is_called boolean NOT NULL);
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
_REWIND: Final = """
CREATE FUNCTION greenroom.rewind(OUT dirty oid[], OUT leftovers jsonb) LANGUAGE plpgsql AS $rewind$
BEGIN
    SELECT jsonb_agg(jsonb_build_object(
               'pid', pid, 'state', state, 'query', query, 'application', application_name,
               'age', extract(epoch FROM clock_timestamp() - coalesce(xact_start, query_start)),
               'waits_for', wait_event_type))
      INTO leftovers
      FROM pg_stat_get_activity(NULL)
     WHERE datid = (SELECT oid FROM pg_database WHERE datname = current_database())
       AND pid <> pg_backend_pid() AND backend_type = 'client backend' AND state <> 'idle';
    IF leftovers IS NOT NULL THEN
        RETURN;
    END IF;
    SELECT array_agg(DISTINCT relation) INTO dirty FROM greenroom.touched;
    IF 0 = ANY (dirty) THEN
        RETURN;  -- The schema was changed, and the statements below may name what is no more.
    END IF;
    IF dirty IS NOT NULL THEN
{tables}        DELETE FROM greenroom.touched;
    END IF;
    PERFORM setval(sequence::regclass, coalesce(last_value, start), is_called) FROM ({sequences}) AS changed;
END $rewind$;
"""

_CHANGED_SEQUENCES: Final = """
        SELECT s.sequence, s.last_value, s.is_called, NULL::bigint AS start
          FROM greenroom.sequences AS s, pg_get_sequence_data(s.sequence::regclass) AS now
         WHERE (now.last_value, now.is_called) IS DISTINCT FROM (s.last_value, s.is_called)"""

_CHANGED_SEQUENCES_BEFORE_18: Final = """
        SELECT s.sequence, s.last_value, s.is_called, q.seqstart AS start
          FROM greenroom.sequences AS s JOIN pg_sequence AS q ON q.seqrelid = s.sequence
         WHERE pg_sequence_last_value(s.sequence::regclass)
               IS DISTINCT FROM CASE WHEN s.is_called THEN s.last_value END"""


def install(url: URL) -> None:
    """Prepare a migrated database to be rewound; what is cloned from it is prepared, too.

    Args:
        url: The database, as the admin.

    Raises:
        RewindError: The admin's role may not do what a rewind needs.
    """
    with psycopg.connect(conninfo(url), autocommit=False) as connection:
        try:
            _install(connection)
        except psycopg.errors.InsufficientPrivilege as error:
            raise RewindError(
                f"The admin's role {url.username!r} may not prepare the rewind: {error.diag.message_primary}. It must be "
                f"a superuser, since only one may switch foreign keys off for a moment and see changes of the schema.",
                hint="name a superuser in the server's URL; the service images of CI systems have one",
            ) from None


def _install(connection: psycopg.Connection[Any]) -> None:
    connection.execute(_SCHEMA)
    statements: list[sql.Composable] = []
    with connection.cursor(row_factory=dict_row) as cursor:
        tables = cursor.execute(_TABLES).fetchall()
        sequences = cursor.execute(_SEQUENCES).fetchall()
    for row in tables:
        table = sql.Identifier(row["nspname"], row["relname"])
        connection.execute(sql.SQL(_TRIGGER).format(table=table))
        if row["holds_rows"]:
            seed = _copy_rows(connection, table, row["oid"])
            statements.append(_restoration(table, row, seed))
    for row in sequences:
        connection.execute(
            sql.SQL("INSERT INTO greenroom.sequences SELECT {}, last_value, is_called FROM {}").format(
                row["oid"], sql.Identifier(row["nspname"], row["relname"])
            )
        )
    changed = _CHANGED_SEQUENCES if connection.info.server_version >= 180000 else _CHANGED_SEQUENCES_BEFORE_18
    connection.execute(
        sql.SQL(_REWIND).format(tables=sql.SQL("").join(statements), sequences=sql.SQL(changed))
    )
    connection.execute(_EVENT_TRIGGERS)
    # A right that the rewind needs and that would otherwise be missed only after the first test.
    connection.execute("SET LOCAL session_replication_role = replica")


def _copy_rows(connection: psycopg.Connection[Any], table: sql.Identifier, oid: int) -> sql.Identifier | None:
    """Copy a table's rows into the schema `greenroom`. The copy's name, or None if there are none."""
    if connection.execute(sql.SQL("SELECT FROM ONLY {} LIMIT 1").format(table)).fetchone() is None:
        return None
    seed = sql.Identifier(SCHEMA, f"seed_{oid}")
    connection.execute(sql.SQL("CREATE TABLE {} AS SELECT * FROM ONLY {}").format(seed, table))
    return seed


def _restoration(table: sql.Identifier, row: dict[str, Any], seed: sql.Identifier | None) -> sql.Composed:
    """The statements of the rewind for one table: executed if it, or a table that it inherits from, was noted."""
    restore = sql.SQL("DELETE FROM ONLY {};").format(table)
    if seed is not None:
        columns = sql.SQL(", ".join(row["columns"]))
        restore += sql.SQL(" INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {};").format(
            table, columns, columns, seed
        )
    noted = sql.SQL(",").join(sql.Literal(oid) for oid in row["named_by"])
    return sql.SQL("        IF dirty && ARRAY[{}]::oid[] THEN {} END IF;\n").format(noted, restore)


@dataclasses.dataclass(frozen=True)
class Rewound:
    """What a rewind found.

    Attributes:
        tables: How many tables had been written to.
        schema_changed: The schema had been changed, and nothing was rewound: the database must be cloned afresh.
    """

    tables: int
    schema_changed: bool


class Rewinder:
    """Rewinds one database, over one connection that it keeps.

    Args:
        url: The database, as the admin.
    """

    def __init__(self, url: URL) -> None:
        self._connection = psycopg.connect(
            conninfo(url),
            autocommit=True,
            application_name="greenroom rewind",
            # Foreign keys and triggers do not fire, and what this connection deletes is not noted.
            options="-c session_replication_role=replica -c greenroom.rewinding=1 -c lock_timeout=5s",
            prepare_threshold=0,
        )
        self._since_vacuum = 0
        self._touched: set[int] = set()

    def rewind(self) -> Rewound:
        """Bring the database back to the template's state.

        Raises:
            LeftoverError: A connection was in a transaction, which was ended after `PATIENCE` seconds. The database
                is rewound all the same.
            RewindError: The database could not be rewound.
        """
        end = time.monotonic() + PATIENCE
        ended: list[dict[str, Any]] = []
        while True:
            dirty, leftovers = self._call()
            if leftovers is None:
                break
            if time.monotonic() > end:
                ended += [left for left in leftovers if left["pid"] not in {other["pid"] for other in ended}]
                self._terminate(leftovers)
                if time.monotonic() > end + PATIENCE:
                    raise RewindError(
                        f"Connections that a test left open do not end: {_described(leftovers)}."
                    )
            time.sleep(0.005)
        changed = 0 in dirty
        if not changed:
            self._vacuum_now_and_then(dirty)
        if ended:
            raise LeftoverError(_leftover_message(ended), hint=_LEFTOVER_HINT)
        return Rewound(tables=len(dirty), schema_changed=changed)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _call(self) -> tuple[list[int], list[dict[str, Any]] | None]:
        try:
            row = self._connection.execute("SELECT dirty, leftovers FROM greenroom.rewind()").fetchone()
        except psycopg.Error as error:
            raise RewindError(
                f"The database could not be rewound: {' '.join(str(error).split())}."
            ) from error
        assert row is not None
        return row[0] or [], row[1]

    def _terminate(self, leftovers: list[dict[str, Any]]) -> None:
        self._connection.execute(
            "SELECT pg_terminate_backend(pid) FROM unnest(%s::int[]) AS pid",
            [[left["pid"] for left in leftovers]],
        )

    def _vacuum_now_and_then(self, dirty: list[int]) -> None:
        self._touched.update(dirty)
        self._since_vacuum += 1
        if self._since_vacuum >= _VACUUM_EVERY:
            rows = self._connection.execute(
                "SELECT oid::regclass::text FROM pg_class WHERE oid = ANY (%s) AND relkind = 'r'",
                [list(self._touched)],
            ).fetchall()
            self._connection.execute(
                f"VACUUM {', '.join([f'{SCHEMA}.touched', *(name for (name,) in rows)])}"
            )
            self._since_vacuum = 0
            self._touched.clear()


_LEFTOVER_HINT: Final = "close the session or end the transaction: `async with session_factory() as session`, `await session.commit()`"


def _leftover_message(leftovers: list[dict[str, Any]]) -> str:
    """What was left, what it usually means, and what was done about it, in three sentences."""
    return (
        f"The test left a transaction open: {_described(leftovers)}. Usually that is a session of the application or of "
        f"the test that was neither committed, rolled back nor closed, or a task that still runs. It was ended, and "
        f"what it wrote is gone."
    )


def _described(leftovers: list[dict[str, Any]]) -> str:
    return "; ".join(
        f"{left['state']} for {left['age']:.1f} s, last statement {' '.join(left['query'].split())[:200]!r}"
        for left in leftovers
    )
