"""Tests of a project's migrations, by the command line and as items of pytest: what each check lets pass, and what it finds."""

from __future__ import annotations

import json
import textwrap
from typing import Any

import psycopg
import pytest

from tests.greenroom.conftest import Project

ENV = """
    from alembic import context

    from shop import tables

    context.configure(connection=context.config.attributes["connection"], target_metadata=tables.metadata)
    with context.begin_transaction():
        context.run_migrations()
"""

ASYNCHRONOUS_ENV = """
    import asyncio

    from alembic import context

    from shop import tables
    from shop.main import engine


    def migrate(connection):
        context.configure(connection=connection, target_metadata=tables.metadata)
        with context.begin_transaction():
            context.run_migrations()


    async def main():
        async with engine.connect() as connection:
            await connection.run_sync(migrate)


    asyncio.run(main())
"""

REVISION = """\
import sqlalchemy as sa
from alembic import op

revision, down_revision = {revision!r}, {before!r}


def upgrade():
{up}


def downgrade():
{down}
"""

ITEMS = "op.create_table('items', sa.Column('id', sa.Integer, primary_key=True), sa.Column('name', sa.Text))"

MODELS = """
    from sqlalchemy import Column, Integer, MetaData, Table, Text

    metadata = MetaData()
    Table("items", metadata, Column("id", Integer, primary_key=True), Column("name", Text))
"""

NAMES = [
    "one_head",
    "up_from_nothing",
    "models_agree",
    "data_survives[one]",
    "up_down_up[one]",
    "data_survives[two]",
    "up_down_up[two]",
]
"""The checks of a project with two revisions."""

Steps = tuple[str, str]
"""A revision's upgrade and downgrade."""


class Migrations:
    """A project with revisions.

    Args:
        project: The project `shop`.
    """

    def __init__(self, project: Project) -> None:
        self.project = project
        project.replace(
            "pyproject.toml",
            'metadata = "shop.models:metadata"\nseed = ["seed.sql"]\n',
            'alembic = "alembic.ini"\n',
        )
        project.write("alembic.ini", "[alembic]\nscript_location = migrations\n")
        project.write("migrations/env.py", ENV)
        project.write("shop/tables.py", MODELS)

    def revision(self, revision: str, before: str | tuple[str, ...] | None, up: str, down: str) -> None:
        """Write a revision."""
        bodies = {
            key: textwrap.indent(textwrap.dedent(body), "    ") for key, body in (("up", up), ("down", down))
        }
        text = REVISION.format(revision=revision, before=before, **bodies)
        self.project.write(f"migrations/versions/{revision}.py", text)

    def chain(self, **steps: Steps) -> None:
        """Write revisions, one after the other; the first makes the table `items`."""
        self.revision("one", None, ITEMS, "op.drop_table('items')")
        before = "one"
        for revision, (up, down) in steps.items():
            self.revision(revision, before, up, down)
            before = revision

    def setting(self, line: str) -> None:
        """Add a setting."""
        self.project.replace(
            "pyproject.toml", 'alembic = "alembic.ini"\n', f'alembic = "alembic.ini"\n{line}\n'
        )

    def run(self, *names: str, code: int) -> dict[str, dict[str, Any]]:
        """Run `greenroom migrations --json`. Returns the results by name."""
        done = self.project.greenroom("migrations", "--json", *names)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return {each["name"]: each for each in json.loads(done.stdout)}

    def fails(self, name: str, *texts: str) -> dict[str, Any]:
        """Run a check, which fails and says this."""
        result = self.run(name, code=1)[name]
        assert result["outcome"] == "failed"
        for text in texts:
            assert text in result["said"] + "\n" + str(result["hint"])
        return result


@pytest.fixture
def migrations(project: Project) -> Migrations:
    """The project `shop` with Alembic, and no revisions yet."""
    return Migrations(project)


def databases(url: str) -> int:
    """How many databases the server has that are for migrations."""
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_database WHERE datname LIKE 'greenroom%migrations%'"
        ).fetchone()
    assert row is not None
    return int(row[0])


NAME = ("op.execute('ALTER TABLE items ADD COLUMN colour text')", "op.drop_column('items', 'colour')")


def test_good(migrations: Migrations, server_url: str) -> None:
    """Good migrations pass all checks, and no database is left."""
    migrations.chain(two=("op.execute('UPDATE items SET name = upper(name)')", "pass"))
    results = migrations.run(code=0)
    assert [(name, each["outcome"]) for name, each in results.items()] == [(name, "ok") for name in NAMES]
    assert results["data_survives[two]"]["said"] == "2 rows in 1 table"
    assert databases(server_url) == 0


def test_asynchronous_env(migrations: Migrations) -> None:
    """An env.py that uses the application's own asynchronous engine, which keeps connections, runs once for each step."""
    migrations.project.write("migrations/env.py", ASYNCHRONOUS_ENV)
    migrations.chain(two=NAME)
    migrations.project.replace(
        "shop/tables.py", 'Column("name", Text)', 'Column("name", Text), Column("colour", Text)'
    )
    results = migrations.run(code=0)
    assert {each["outcome"] for each in results.values()} == {"ok"}
    (lock,) = results["data_survives[two]"]["locks"]
    assert (lock["table"], lock["mode"], lock["rows"]) == ("items", "AccessExclusiveLock", 2)


def test_several_heads(migrations: Migrations) -> None:
    """Several heads are named, with the command that merges them; all else is tested nevertheless."""
    migrations.chain(two=NAME)
    migrations.revision("other", "one", "op.execute('SELECT 1')", "pass")
    results = migrations.run(code=1)
    assert results["one_head"]["hint"] == "alembic merge other two"
    assert "other, two" in results["one_head"]["said"]
    assert results["up_down_up[other]"]["outcome"] == results["up_down_up[two]"]["outcome"] == "ok"


def test_merge(migrations: Migrations) -> None:
    """Branches and the revision that merges them are tried each with all that it needs, and nothing else."""
    migrations.chain(two=NAME)
    migrations.revision(
        "other", "one", "op.create_table('others', sa.Column('id', sa.Integer))", "op.drop_table('others')"
    )
    migrations.revision("merge", ("two", "other"), "pass", "pass")
    migrations.revision(
        "last", "merge", "op.drop_table('others')", "op.create_table('others', sa.Column('id', sa.Integer))"
    )
    results = migrations.run("up_down_up", "one_head", code=0)
    assert {name: each["outcome"] for name, each in results.items()} == dict.fromkeys(
        ["one_head", *(f"up_down_up[{each}]" for each in ("one", "two", "other", "merge", "last"))], "ok"
    )


def test_broken_upgrade(migrations: Migrations) -> None:
    """A revision that fails is named once, with its line; those after it are skipped, and say why."""
    migrations.chain(two=("op.execute('ALTER TABLE nothing ADD COLUMN x int')", "pass"), three=NAME)
    results = migrations.run(code=1)
    assert 'relation "nothing" does not exist' in results["up_from_nothing"]["said"]
    assert "migrations/versions/two.py:8:" in results["up_from_nothing"]["said"]
    assert "Background" not in results["up_from_nothing"]["said"]
    for name in ("up_down_up[three]", "data_survives[three]"):
        assert results[name]["outcome"] == "skipped"
        assert "two fails" in results[name]["said"]


def test_exit(migrations: Migrations) -> None:
    """A revision that calls sys.exit() fails, and so does one that ends its process."""
    migrations.chain(two=("raise SystemExit(0)", "pass"))
    migrations.fails("up_from_nothing", "two failed", "it called sys.exit()")
    migrations.chain(two=("import os\nos._exit(0)", "pass"))
    done = migrations.project.greenroom("migrations")
    assert done.returncode == 2
    assert "The process that runs the migrations has ended (exit code 0)." in done.stderr


def test_uncommitted(migrations: Migrations) -> None:
    """An env.py that does not commit is found."""
    migrations.chain()
    lines = (
        "context.configure(connection=context.config.attributes['connection'])\ncontext.run_migrations()\n"
    )
    migrations.project.write("migrations/env.py", f"from alembic import context\n\n{lines}")
    migrations.fails("up_from_nothing", "env.py has not committed")


DIFFERENCES = {
    "table": ("op.create_table('more', sa.Column('id', sa.Integer))", "+ table more"),
    "column": (
        "op.execute('ALTER TABLE items ADD COLUMN x int NOT NULL DEFAULT 3')",
        "+ column items.x: integer NOT NULL DEFAULT 3",
    ),
    "type": (
        "op.execute('ALTER TABLE items ALTER name TYPE varchar(9)')",
        "~ column items.name: text → character varying(9)",
    ),
    "default": (
        "op.execute(\"ALTER TABLE items ALTER name SET DEFAULT 'a'\")",
        "~ column items.name: character varying(9) → character varying(9) DEFAULT 'a'::character varying",
    ),
    "check": (
        "op.execute('ALTER TABLE items ADD CONSTRAINT c CHECK (id > 0)')",
        "+ constraint items.c: CHECK ((id > 0))",
    ),
    "index": (
        "op.create_index('i', 'items', ['name'])",
        "+ index items.i: CREATE INDEX i ON public.items USING btree (name)",
    ),
    "sequence": ("op.execute('CREATE SEQUENCE s')", "+ sequence s"),
    "enum": ("op.execute(\"CREATE TYPE e AS ENUM ('a', 'b')\")", "+ enum e: 'a', 'b'"),
    "domain": (
        "op.execute('CREATE DOMAIN d AS int CHECK (VALUE > 0)')",
        "+ domain d: integer CHECK ((VALUE > 0))",
    ),
    "type of its own": ("op.execute('CREATE TYPE t AS (x int, y text)')", "+ type t: x integer, y text"),
    "view": ("op.execute('CREATE VIEW v AS SELECT 1 AS x')", "+ view v: SELECT 1 AS x;"),
    "function": (
        "op.execute('CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$SELECT 1$$')",
        "+ function f()",
    ),
    "policy": (
        "op.execute('CREATE POLICY p ON items USING (id > 0)')",
        "+ policy items.p: FOR ALL TO public USING ((id > 0))",
    ),
    "row security": (
        "op.execute('ALTER TABLE items ENABLE ROW LEVEL SECURITY')",
        "~ table items:  → with row-level security",
    ),
    "comment": ("op.execute(\"COMMENT ON TABLE items IS 'all'\")", "+ comment items: 'all'"),
    "schema": ("op.execute('CREATE SCHEMA more')", "+ schema more"),
}


def test_traces(migrations: Migrations) -> None:
    """Whatever a downgrade leaves is told, of each kind of object; what belongs to a whole table is not listed beside it."""
    nothing = "op.execute('SELECT 1')"
    migrations.chain(**{f"r{number}": (up, nothing) for number, (up, _) in enumerate(DIFFERENCES.values())})
    results = migrations.run("up_down_up", code=1)
    for number, (_, line) in enumerate(DIFFERENCES.values()):
        result = results[f"up_down_up[r{number}]"]
        assert result["outcome"] == "failed"
        assert any(each.startswith(f"  {line}") for each in result["said"].splitlines()), result["said"]
        assert result["said"].count("\n  + ") + result["said"].count("\n  ~ ") == 1, result["said"]


def test_changed_lines(migrations: Migrations) -> None:
    """Of a function that a downgrade does not change back quite the lines are shown that differ."""
    function = (
        "CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$\nBEGIN\n  RETURN {};\nEND\n$$"
    )
    migrations.chain(
        two=(f"op.execute('''{function.format(1)}''')", "op.execute('DROP FUNCTION f()')"),
        three=(f"op.execute('''{function.format(2)}''')", f"op.execute('''{function.format(3)}''')"),
    )
    result = migrations.fails("up_down_up[three]", "~ function f():", "RETURN 1;", "RETURN 3;")
    assert "Applied again" not in result["said"]


NO_DOWNGRADE = {
    "pass": "its downgrade does nothing (`pass`)",
    '"""There is no way back."""': "its downgrade does nothing (`pass`)",
    "raise NotImplementedError": "its downgrade says that there is none",
    "raise RuntimeError('This migration is irreversible.')": "its downgrade says that there is none",
}


def test_no_downgrade(migrations: Migrations) -> None:
    """A downgrade that is not there is told as that: the check is skipped, or fails where downgrades are required."""
    ups = [f"op.execute('ALTER TABLE items ADD COLUMN x{number} int')" for number in range(4)]
    migrations.chain(
        **{f"r{number}": (ups[number], down) for number, down in enumerate(NO_DOWNGRADE)}, last=NAME
    )
    results = migrations.run("up_down_up", code=0)
    for number, said in enumerate(NO_DOWNGRADE.values()):
        assert results[f"up_down_up[r{number}]"]["outcome"] == "skipped"
        assert f"r{number} cannot be taken back: {said}" in results[f"up_down_up[r{number}]"]["said"]
    assert results["up_down_up[last]"]["outcome"] == "ok"
    migrations.setting('migration_downgrades = "required"')
    migrations.fails(
        "up_down_up[r2]", "its downgrade says that there is none", 'migration_downgrades = "optional"'
    )


def test_missing_downgrade(migrations: Migrations) -> None:
    """A revision without the function, too; one that changes rows only needs none."""
    migrations.chain(two=("op.execute(\"INSERT INTO items (name) VALUES ('a')\")", "pass"))
    path = migrations.project.root / "migrations/versions/one.py"
    path.write_text(path.read_text().partition("def downgrade")[0])
    results = migrations.run("up_down_up", code=0)
    assert "its downgrade is missing" in results["up_down_up[one]"]["said"]
    assert results["up_down_up[two]"]["outcome"] == "ok"


def test_downgrade_that_fails(migrations: Migrations) -> None:
    """A downgrade that fails, and one after which the revision cannot be applied again."""
    make = (
        "op.execute(\"CREATE TYPE kind AS ENUM ('a')\")\nop.execute('ALTER TABLE items ADD COLUMN kind kind')"
    )
    migrations.chain(two=(make, "op.drop_column('items', 'kind')"), three=NAME)
    migrations.fails(
        "up_down_up[two]",
        "two cannot be applied after its downgrade",
        "The downgrade has left this:",
        "+ enum kind: 'a'",
        "op.execute('DROP TYPE kind')",
    )
    migrations.chain(two=(NAME[0], "op.drop_column('items', 'color')"))
    migrations.fails(
        "up_down_up[two]", "The downgrade of two failed.", 'column "color"', "versions/two.py:12"
    )


def test_models(migrations: Migrations) -> None:
    """Where models and migrations differ is told in lines, by env.py's own options."""
    migrations.chain(two=NAME)
    migrations.project.write(
        "shop/tables.py",
        """
        from sqlalchemy import Column, ForeignKey, Index, Integer, MetaData, String, Table, UniqueConstraint

        metadata = MetaData()
        Table("items", metadata, Column("id", Integer, primary_key=True), Column("name", String(9), nullable=False, index=True))
        Table("more", metadata, Column("item", ForeignKey("items.id")))
        """,
    )
    migrations.fails(
        "models_agree",
        "table more: only in the models",
        "index ix_items_name on items (name): only in the models",
        "column items.colour TEXT: only in the migrations",
        "type of items.name: TEXT by the migrations, VARCHAR(9) by the models",
        "nullability of items.name: NULL by the migrations, NOT NULL by the models",
        "alembic revision --autogenerate",
    )
    options = "target_metadata=tables.metadata, include_object=lambda found, name, kind, *_: name == 'id'"
    migrations.project.replace("migrations/env.py", "target_metadata=tables.metadata", options)
    assert migrations.run("models_agree", code=0)["models_agree"]["outcome"] == "ok"
    migrations.project.replace("migrations/env.py", options, "target_metadata=None")
    assert "env.py names no target_metadata" in migrations.run("models_agree", code=0)["models_agree"]["said"]


def test_not_null(migrations: Migrations) -> None:
    """A new column that is NOT NULL and has no default works on an empty table, and not where there are rows."""
    migrations.chain(
        two=(
            "op.add_column('items', sa.Column('n', sa.Integer, nullable=False))",
            "op.drop_column('items', 'n')",
        )
    )
    results = migrations.run(code=1)
    assert results["up_down_up[two]"]["outcome"] == "ok"
    result = results["data_survives[two]"]
    assert "two fails where there are rows" in result["said"]
    assert 'column "n" of relation "items" contains null values' in result["said"]
    assert "server_default" in result["hint"]


LOST = {
    "op.execute('DELETE FROM items WHERE name IS NULL')": "items had 2 rows, and has 1 after it",
    "op.drop_column('items', 'name')\nop.add_column('items', sa.Column('name', sa.String(9)))": (
        "items.name had a value in 1 row, and has one in 0 after it"
    ),
    "op.execute('ALTER TABLE items ALTER name TYPE int USING NULL')": "items.name had a value in 1 row, and has one in 0 after it",
    f"op.execute('DROP TABLE items')\n{ITEMS}": "items had 2 rows, and has 0 after it",
}


def test_lost(migrations: Migrations) -> None:
    """Rows that are gone from a table that is still there, and values from a column, are found; it may be meant."""
    migrations.chain(**{f"r{number}": (up, "pass") for number, up in enumerate(LOST)})
    results = migrations.run("data_survives", code=1)
    for number, said in enumerate(LOST.values()):
        assert results[f"data_survives[r{number}]"]["outcome"] == "failed"
        assert f"r{number} loses data:\n  {said}" in results[f"data_survives[r{number}]"]["said"]
    migrations.setting('migration_skip = ["data_survives[r0]", "r1", "up_down_up"]')
    assert list(migrations.run("data_survives", code=1)) == [
        "data_survives[one]",
        "data_survives[r2]",
        "data_survives[r3]",
    ]


def test_kept(migrations: Migrations) -> None:
    """What is renamed keeps its rows; what is dropped is a note, as is a table that is written again."""
    migrations.chain(
        two=(
            "op.rename_table('items', 'things')\nop.alter_column('things', 'name', new_column_name='title')",
            "pass",
        ),
        three=("op.execute('ALTER TABLE things ALTER id TYPE bigint')", "pass"),
        four=("op.drop_column('things', 'title')", "pass"),
        five=("op.drop_table('things')", "pass"),
    )
    results = migrations.run("data_survives", code=0)
    assert results["data_survives[two]"]["notes"] == []
    assert results["data_survives[three]"]["notes"] == [
        "three writes all rows of things again, while nobody can read it"
    ]
    assert results["data_survives[four]"]["notes"] == [
        "four drops the column things.title, which has a value in 1 row"
    ]
    assert results["data_survives[five]"]["notes"] == ["five drops the table things and its 2 rows"]


def test_locks(migrations: Migrations) -> None:
    """The locks on tables with rows are told, each with the statement that took it, until the end of the transaction."""
    index, again = "op.create_index('i', 'items', ['name'])", "op.create_index('j', 'items', ['name'])"
    migrations.chain(two=(f"{index}\nop.execute('SELECT pg_sleep(0.1)')\n{NAME[0]}\n{again}", "pass"))
    locks = migrations.run("data_survives", code=0)["data_survives[two]"]["locks"]
    assert [(each["mode"], each["blocks"], each["table"], each["rows"]) for each in locks] == [
        ("ShareLock", "writing", "items", 2),
        ("AccessExclusiveLock", "reading and writing", "items", 2),
    ]
    assert locks[0]["milliseconds"] > 100 > locks[1]["milliseconds"]
    assert locks[1]["statement"] == "ALTER TABLE items ADD COLUMN colour text"


ZOO = """
op.execute('''
CREATE TYPE mood AS ENUM ('calm', 'wild');
CREATE DOMAIN percent AS numeric(5, 2) CHECK (VALUE BETWEEN 0 AND 100);
CREATE SCHEMA care;
CREATE TABLE care.keepers (
    id uuid PRIMARY KEY, code char(3) NOT NULL UNIQUE CHECK (code ~ '^[A-Z]{3}$'), mail varchar(40) NOT NULL CHECK (mail LIKE '%@%'),
    born date NOT NULL, shift tstzrange NOT NULL, chief uuid REFERENCES care.keepers, tags text[] NOT NULL, settings jsonb NOT NULL
);
CREATE TABLE animals (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, keeper uuid NOT NULL REFERENCES care.keepers, mood mood NOT NULL,
    health percent NOT NULL, state text NOT NULL CHECK (state IN ('here', 'away')), weight numeric(4, 2) NOT NULL CHECK (weight > 12),
    shout text GENERATED ALWAYS AS (upper(state)) STORED, "Odd name" bytea NOT NULL, UNIQUE (id, keeper)
);
CREATE TABLE meals (
    animal int NOT NULL, keeper uuid NOT NULL REFERENCES care.keepers, at time NOT NULL, active bool NOT NULL,
    low int NOT NULL, high int NOT NULL CHECK (high > low + 5),
    PRIMARY KEY (animal, keeper), FOREIGN KEY (animal, keeper) REFERENCES animals (id, keeper)
);
CREATE TABLE one (id int PRIMARY KEY CHECK (id = 1));
CREATE TABLE never (id int NOT NULL CHECK (id > 5 AND id < 5));
CREATE TABLE odd (spot pg_snapshot NOT NULL);
CREATE TABLE odder (spot pg_snapshot);
CREATE TABLE logs (at date NOT NULL) PARTITION BY RANGE (at);
CREATE TABLE logs_2024 PARTITION OF logs FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
''')
"""


def test_rows(migrations: Migrations) -> None:
    """Rows are made for tables of all kinds: types, keys, checks, enums, domains. What could not be filled is told."""
    migrations.chain(zoo=(ZOO, "pass"), last=("op.execute('SELECT 1')", "pass"))
    result = migrations.run("data_survives[last]", code=0)["data_survives[last]"]
    assert result["notes"] == [
        'no rows in never: new row for relation "never" violates check constraint "never_id_check"',
        "no rows in odd: nothing is known of the type pg_snapshot of spot",
    ]
    # Two each in items, keepers, animals, meals, odder and logs, and one.
    assert result["said"] == "13 rows in 7 tables"


def test_generated_rows_that_do_not_fit(migrations: Migrations) -> None:
    """A revision that wants values of a certain kind proves nothing with generated rows; the project gives its own."""
    up = "op.execute(\"ALTER TABLE items ADD CHECK (name IN ('red', 'green'))\")"
    migrations.chain(two=(up, "pass"))
    result = migrations.run("data_survives", code=0)["data_survives[two]"]
    assert result["outcome"] == "skipped"
    assert "does not take the generated rows" in result["said"]
    assert "two.sql" in result["hint"]
    migrations.setting('migration_rows = "rows"')
    migrations.project.write("rows/two.sql", "INSERT INTO items (name) VALUES ('red'), ('green'), ('red');\n")
    result = migrations.run("data_survives", code=0)["data_survives[two]"]
    assert (result["outcome"], result["said"]) == ("ok", "3 rows in 1 table")
    migrations.project.write("rows/two.sql", "INSERT INTO items (name) VALUES ('blue');\n")
    migrations.fails("data_survives[two]", "two fails where there are rows", "is violated by some row")
    migrations.project.write("rows/two.sql", "INSERT INTO nothing VALUES (1);\n")
    migrations.fails("data_survives[two]", "two.sql does not fit the state before the revision")


def test_seed(migrations: Migrations) -> None:
    """The rows of the project's own seed are there where they fit."""
    migrations.setting('seed = "seed.sql"')
    migrations.project.write(
        "seed.sql", "INSERT INTO items (name, colour) VALUES ('a', 'red'), ('b', 'red'), ('c', NULL);\n"
    )
    migrations.chain(two=NAME, three=("op.execute('SELECT 1')", "pass"))
    results = migrations.run("data_survives", code=0)
    assert results["data_survives[two]"]["said"] == "2 rows in 1 table"
    assert results["data_survives[three]"]["said"] == "5 rows in 1 table"


def test_before_and_extensions(migrations: Migrations) -> None:
    """What a deployment does by hand before the first revision is done here as well."""
    migrations.setting('before = "schemas.sql"\nextensions = ["citext"]')
    migrations.project.write("schemas.sql", "CREATE SCHEMA shop;\n")
    migrations.chain(
        two=(
            "op.execute('CREATE TABLE shop.names (name public.citext NOT NULL)')",
            "op.execute('DROP TABLE shop.names')",
        )
    )
    results = migrations.run("up_down_up", "data_survives", code=0)
    assert {each["outcome"] for each in results.values()} == {"ok"}


def test_what_cannot_begin(migrations: Migrations, server_url: str) -> None:
    """Without its extensions, or with revisions that Alembic cannot read, nothing begins, and the error says why."""
    migrations.chain()
    migrations.setting('extensions = ["nothing"]')
    done = migrations.project.greenroom("migrations")
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert 'The extension nothing cannot be created: extension "nothing" is not available' in done.stderr
    migrations.project.replace("pyproject.toml", 'extensions = ["nothing"]', "")
    migrations.revision("two", "nowhere", "pass", "pass")
    done = migrations.project.greenroom("migrations")
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert "Alembic cannot read the revisions." in done.stderr
    assert "nowhere" in done.stderr
    assert databases(server_url) == 0


def test_since(migrations: Migrations) -> None:
    """The revisions up to one are history, and not tested one by one; a revision that is not there is an error."""
    migrations.chain(two=NAME, three=("op.execute('SELECT 1')", "pass"))
    migrations.setting('migration_since = "two"')
    assert list(migrations.run("up_down_up", code=0)) == ["up_down_up[three]"]
    migrations.project.replace("pyproject.toml", '"two"', '"tow"')
    done = migrations.project.greenroom("migrations")
    assert done.returncode == 2
    assert (
        "migration_since names the revision 'tow', which is not there. Found: one, two, three." in done.stderr
    )


@pytest.mark.parametrize(
    ("arguments", "setting", "said"),
    [
        (["nothing"], "", "There is no check and no revision 'nothing'."),
        (
            [],
            'migration_skip = ["up_down"]',
            "migration_skip names 'up_down', which is no check and no revision.",
        ),
        ([], 'migration_rows = "nowhere"', "migration_rows must be a folder in"),
        ([], 'migration_downgrades = "never"', 'migration_downgrades must be "optional" or "required".'),
    ],
)
def test_wrong(migrations: Migrations, arguments: list[str], setting: str, said: str) -> None:
    """Names and settings that are wrong are errors that say what there is."""
    migrations.chain()
    migrations.setting(setting)
    done = migrations.project.greenroom("migrations", *arguments)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr


def test_without_alembic(project: Project) -> None:
    """A project without Alembic is told so, by the command and by the setting."""
    done = project.greenroom("migrations")
    assert done.returncode == 2
    assert "names no configuration of it" in done.stderr
    project.replace("pyproject.toml", "[tool.greenroom]\n", "[tool.greenroom]\nmigration_tests = true\n")
    assert "migration_tests must be false without alembic" in project.greenroom("status").stderr


# -- as items of pytest ----------------------------------------------------------------------------------------------


@pytest.fixture
def items(migrations: Migrations) -> Migrations:
    """A project whose migrations pytest tests, with one other test."""
    migrations.chain(two=NAME)
    migrations.project.replace(
        "shop/tables.py", 'Column("name", Text)', 'Column("name", Text), Column("colour", Text)'
    )
    migrations.setting("migration_tests = true")
    migrations.project.write("tests/test_it.py", "def test_it(session): pass\n")
    return migrations


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        (["tests"], 8),
        (["tests/test_it.py"], 1),
        (["migrations::up_down_up[two]", "migrations::one_head"], 2),
        (["tests/test_it.py", "migrations", "-k", "test_it or one"], 4),
        (["-n2", "-p", "randomly"], 8),
    ],
)
def test_items(items: Migrations, arguments: list[str], count: int) -> None:
    """The checks are items wherever the whole suite is collected, or where they are named; also in workers, and shuffled."""
    result = items.project.pytest(*arguments)
    assert result.ret == 0, result.stdout.str()
    assert result.parseoutcomes()["passed"] == count


def test_items_in_order(items: Migrations, server_url: str) -> None:
    """They come in the order of the history, and leave no database."""
    result = items.project.pytest("-v")
    result.stdout.fnmatch_lines(
        [*(f"migrations::{name.replace('[', '[[]')} PASSED*" for name in NAMES), "*8 passed*"]
    )
    assert databases(server_url) == 0


def test_items_fail(items: Migrations) -> None:
    """A check that fails is a failure without a traceback, a skip says why, and locks are in JUnit's report."""
    items.revision(
        "two",
        "one",
        "op.add_column('items', sa.Column('colour', sa.Text, nullable=False))",
        "raise NotImplementedError",
    )
    result = items.project.pytest("-rs", "--junitxml=junit.xml")
    result.stdout.fnmatch_lines(
        [
            "greenroom: two fails where there are rows, though it works on empty tables.",
            "*column*colour*contains null values*",
            "*→ a new column needs a server_default*",
            "SKIPPED*two cannot be taken back*",
        ]
    )
    result.stdout.no_fnmatch_line("*Traceback*")
    assert result.parseoutcomes() == {"passed": 5, "failed": 2, "skipped": 1}


def test_items_unknown(items: Migrations) -> None:
    """A check that is not there is an error of the call."""
    result = items.project.pytest("migrations::nothing")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*there is no test migrations::nothing; pytest migrations --co lists them"])


def test_items_in_shards(items: Migrations) -> None:
    """The shards of `greenroom ci` have each a part of them, and together all."""
    ran = []
    for shard in ("1/2", "2/2"):
        done = items.project.greenroom("ci", "--shard", shard, "--", "-v")
        assert done.returncode == 0, done.stdout
        ran += [line.split()[0] for line in done.stdout.splitlines() if " PASSED" in line]
    assert sorted(ran) == sorted(["tests/test_it.py::test_it", *(f"migrations::{name}" for name in NAMES)])


def test_off(items: Migrations) -> None:
    """Without the setting there are no items."""
    items.project.replace("pyproject.toml", "migration_tests = true", "migration_tests = false")
    assert items.project.pytest().parseoutcomes() == {"passed": 1}
