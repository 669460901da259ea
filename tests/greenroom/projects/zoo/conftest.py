"""Each test of this project begins by checking that the database is exactly as the first one found it."""

import time

import pytest
from psycopg import sql

TABLES = """SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
             WHERE relkind IN ('r', 'm') AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
               AND c.relname <> 'touched' AND c.relpersistence <> 't' ORDER BY 1, 2"""
SEQUENCES = (
    "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'S' AND relpersistence <> 't' ORDER BY 1"
)
CATALOGUE = [
    "SELECT n.nspname, relname, relkind, reltype, relowner, relacl::text, reloptions::text, relrowsecurity,"
    " relforcerowsecurity, relchecks, relhastriggers FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
    " WHERE relpersistence <> 't' AND n.nspname NOT LIKE 'pg\\_toast%' ORDER BY 1, 2",
    "SELECT attrelid::regclass::text, attname, atttypid, attnotnull, attisdropped FROM pg_attribute a"
    " JOIN pg_class c ON c.oid = attrelid WHERE attnum > 0 AND relpersistence <> 't'"
    " AND relnamespace <> 'pg_toast'::regnamespace ORDER BY 1, 2",
    "SELECT tgrelid::regclass::text, tgname, tgenabled FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1, 2",
    "SELECT proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY 1, 2",
    "SELECT typname FROM pg_type WHERE typtype = 'e' ORDER BY 1",
    "SELECT enumlabel FROM pg_enum ORDER BY enumsortorder",
    "SELECT loid, pageno, data FROM pg_largeobject ORDER BY 1, 2",
    "SELECT setconfig FROM pg_db_role_setting s JOIN pg_database d ON d.oid = setdatabase"
    " WHERE datname = current_database()",
    "SELECT rolconfig FROM pg_roles WHERE rolname = 'greenroom_app'",
    "SELECT datallowconn, datconnlimit, datistemplate, datacl::text, pg_get_userbyid(datdba),"
    " shobj_description(oid, 'pg_database') LIKE '{\"greenroom\": %' FROM pg_database WHERE datname = current_database()",
    "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()",
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
    "SELECT last_value FROM free_standing",
]

CATALOGUES = """SELECT relname FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind = 'r'
                   AND NOT relisshared AND relname NOT LIKE 'pg_statistic%' AND relname <> 'pg_largeobject'"""
"""All tables of the catalogue that are this database's own, but for statistics and what is compared anyway."""

# Where a table's rows are stored, and what VACUUM and ANALYZE write there. A backend's namespace for temporary tables stays.
CHANGES_BY_ITSELF = {
    "pg_class": "SELECT to_jsonb(c) - '{relfilenode,relpages,reltuples,relallvisible,relallfrozen,relfrozenxid,relminmxid}'"
    "::text[] AS t FROM pg_class AS c",
    # Before 17, a server tells nobody of CLUSTER; which index that was is read by the next CLUSTER only.
    "pg_index": "SELECT to_jsonb(i) - 'indisclustered' AS t FROM pg_index AS i",
    "pg_namespace": "SELECT t FROM pg_namespace AS t WHERE nspname !~ '^pg_(toast_)?temp_'",
}


def catalogue(connection):
    """Of each table of the catalogue (comments, rights, parameters of sequences, …) a number that stands for its rows."""
    names = [name for (name,) in connection.execute(CATALOGUES)]
    rows = {name: CHANGES_BY_ITSELF.get(name, f"SELECT t FROM {name} AS t") for name in names}
    sums = [
        f"SELECT '{name}', count(*), sum(hashtextextended(t::text, 0)) FROM ({rows[name]}) AS it"
        for name in names
    ]
    return {name: rest for name, *rest in connection.execute(" UNION ALL ".join(sums))}


def without_temporary_tables(connection):
    """Wait for backends that have just been told to end, and take their temporary tables with them."""
    end = time.monotonic() + 20
    while connection.execute("SELECT FROM pg_class WHERE relpersistence = 't'").fetchall():
        assert time.monotonic() < end
        time.sleep(0.005)


def contents(connection):
    """All rows of all tables, all sequences, and what matters of the catalogue."""
    without_temporary_tables(connection)
    found = catalogue(connection)
    for schema, table in connection.execute(TABLES).fetchall():
        rows = sql.SQL("SELECT t::text FROM ONLY {} AS t").format(sql.Identifier(schema, table))
        found[schema, table] = sorted(str(row) for row in connection.execute(rows))
    for (name,) in connection.execute(SEQUENCES).fetchall():
        found[name] = connection.execute(f"SELECT last_value, is_called FROM {name}").fetchone()
    for query in CATALOGUE:
        found[query] = connection.execute(query).fetchall()
    return found


first = {}


@pytest.fixture(autouse=True)
def exactly_as_migrated(admin):
    found = contents(admin)
    expected = first.setdefault("contents", found)
    assert {key: value for key, value in found.items() if value != expected.get(key)} == {}
    assert found.keys() == expected.keys()


@pytest.fixture
def admin(request, engine):
    """A connection as the admin, to look at everything."""
    import psycopg

    from greenroom.plugin.stash import worker_key
    from greenroom.urls import conninfo

    with psycopg.connect(
        conninfo(request.config.stash[worker_key].database.admin_url), autocommit=True
    ) as connection:
        yield connection


@pytest.fixture
def execute(engine):
    """Execute statements as the application, each committed."""

    def execute(*statements):
        for statement in statements:
            with engine.begin() as connection:
                connection.exec_driver_sql(statement)

    return execute
