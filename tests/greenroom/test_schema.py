"""Where the schema comes from: metadata, Alembic, SQL files, a command, the application's own start; extensions and roles."""

from __future__ import annotations

import pytest

from tests.greenroom.conftest import Project

ENV = """
    from alembic import context

    context.configure(connection=context.config.attributes["connection"])
    with context.begin_transaction():
        context.run_migrations()
"""

ASYNCHRONOUS_ENV = """
    import asyncio

    from alembic import context
    from sqlalchemy.ext.asyncio import create_async_engine

    from shop.main import engine
    from shop.models import metadata


    def migrate(connection):
        context.configure(connection=connection, target_metadata=metadata)
        with context.begin_transaction():
            context.run_migrations()


    async def main():
        # An engine of its own, from the application's settings.
        async with create_async_engine(engine.url).connect() as connection:
            await connection.run_sync(migrate)
            await connection.commit()


    asyncio.run(main())
"""

SEEDING_ENV = """
    import sys

    from alembic import context
    from sqlalchemy import text

    connection = context.config.attributes["connection"]
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
    if {asked}:
        connection.execute(text("INSERT INTO roles VALUES ('admin')"))
        connection.commit()
"""

REVISION = """
    from alembic import op

    revision, down_revision = {revision!r}, {before!r}

    def upgrade():
        {body}
"""

COUNT = """
    from sqlalchemy import text

    def test_it(session):
        assert session.scalar(text({query!r})) == {expected!r}
"""


def sources(project: Project, text: str) -> None:
    """Give the project these sources of its schema instead of its own."""
    project.replace("pyproject.toml", 'metadata = "shop.models:metadata"\nseed = ["seed.sql"]\n', f"{text}\n")


def migrations(project: Project, folder: str = "", env: str = ENV, **bodies: str) -> None:
    """Write an Alembic environment with a revision of each body, one after the other."""
    ini = "[alembic]\nscript_location = migrations\nversion_path_separator = os  # Use os.pathsep.\n"
    project.write(f"{folder}alembic.ini", ini)
    project.write(f"{folder}migrations/env.py", env)
    before = None
    for revision, body in bodies.items():
        project.write(
            f"{folder}migrations/versions/{revision}.py",
            REVISION.format(revision=revision, before=before, body=body),
        )
        before = revision


def fails(project: Project, *lines: str) -> None:
    """Run a test, which ends with an error that has these lines."""
    project.write("tests/test_it.py", "def test_it(session): pass\n")
    result = project.pytest("tests/test_it.py")
    assert result.ret == 1
    result.stdout.fnmatch_lines(list(lines))
    result.stdout.no_fnmatch_line("*Traceback*")


@pytest.mark.parametrize("target", ["shop.models:Base.metadata", "shop.models:metadata"])
def test_metadata(project: Project, target: str) -> None:
    """The metadata may be an attribute of something in the module."""
    sources(project, f'metadata = "{target}"\nseed = "seed.sql"')
    project.passes(COUNT.format(query="SELECT count(*) FROM countries", expected=3))


def test_several_metadata_with_schemas(project: Project) -> None:
    """Of several metadata all tables are made, also those in a schema of their own, and SQL files go with them."""
    project.write(
        "shop/more.py",
        """
        from sqlalchemy import Column, Integer, MetaData, Table

        one, two = MetaData(schema="stock"), MetaData()
        Table("items", one, Column("id", Integer, primary_key=True))
        Table("parcels", two, Column("id", Integer, primary_key=True), schema="post")
        """,
    )
    project.write(
        "more.sql",
        "CREATE VIEW everything AS SELECT id FROM stock.items UNION SELECT id FROM post.parcels;\n",
    )
    sources(project, 'metadata = ["shop.more:one", "shop.more:two"]\nsql = "more.sql"')
    project.passes(COUNT.format(query="SELECT count(*) FROM everything", expected=0))


def test_alembic_in_a_folder(project: Project) -> None:
    """An asynchronous env.py with an engine of its own, in a folder below, after SQL that a deployment runs by hand."""
    migrations(project, "backend/", ASYNCHRONOUS_ENV, one='op.execute("CREATE TABLE app.items (id int)")')
    project.write("schemas.sql", "CREATE SCHEMA app;\n")
    project.write("rows.sql", "INSERT INTO app.items VALUES (1), (2);\n")
    sources(project, 'alembic = "backend/alembic.ini"\nbefore = "schemas.sql"\nseed = "rows.sql"')
    project.passes(COUNT.format(query="SELECT count(*) FROM app.items", expected=2))


@pytest.mark.parametrize(
    "asked",
    ["' upgrade' in ' '.join(sys.argv)", "context.config.cmd_opts.cmd[0].__name__ == 'upgrade'"],
    ids=["sys.argv", "cmd_opts"],
)
def test_env_that_seeds(project: Project, asked: str) -> None:
    """An env.py that looks at its command line sees `alembic upgrade`, as in a deployment, and writes its rows."""
    migrations(
        project, env=SEEDING_ENV.format(asked=asked), one='op.execute("CREATE TABLE roles (name text)")'
    )
    sources(project, 'alembic = "alembic.ini"')
    project.passes(COUNT.format(query="SELECT count(*) FROM roles", expected=1))


def test_several_heads(project: Project) -> None:
    """Several heads are all applied, and it is said that `alembic upgrade head` will refuse them."""
    migrations(project, one='op.execute("CREATE TABLE a (id int)")')
    project.write(
        "migrations/versions/two.py",
        REVISION.format(revision="two", before=None, body='op.execute("CREATE TABLE b (id int)")'),
    )
    sources(project, 'alembic = "alembic.ini"')
    result = project.passes(COUNT.format(query="SELECT count(*) FROM a, b", expected=0))
    result.stderr.fnmatch_lines(["greenroom: Alembic has 2 heads (one, two)*alembic merge heads*"])


def test_command(project: Project) -> None:
    """A command builds the schema, with the application's own environment."""
    project.write(
        "create_tables.py",
        """
        import asyncio

        from shop.main import engine
        from shop.models import metadata


        async def main():
            async with engine.begin() as connection:
                await connection.run_sync(metadata.create_all)
            await engine.dispose()


        asyncio.run(main())
        """,
    )
    sources(project, 'schema_command = "python create_tables.py"\nseed = "seed.sql"')
    project.passes(COUNT.format(query="SELECT count(*) FROM countries", expected=3))


def test_at_startup(project: Project) -> None:
    """The application builds its schema when it starts up."""
    project.replace(
        "shop/main.py",
        '    events.append("up")\n',
        "    from shop.models import metadata\n\n"
        "    async with engine.begin() as connection:\n"
        '        await connection.run_sync(metadata.create_all)\n    events.append("up")\n',
    )
    sources(project, 'schema_at_startup = true\nseed = "seed.sql"')
    project.passes(
        """
        def test_it(client):
            assert client.post("/customers/ada").status_code == 201
        def test_again(client):
            assert client.get("/customers").json() == []
        """
    )


@pytest.mark.parametrize(
    ("code", "said"), [(0, "*schema is not complete*exit code 0*"), (3, "*(exit code 3)*")]
)
def test_migration_that_exits(project: Project, code: int, said: str) -> None:
    """A migration that ends its process leaves no template that counts as finished, whatever its exit code."""
    migrations(project, one='op.execute("CREATE TABLE a (id int)")', two=f"raise SystemExit({code})")
    sources(project, 'alembic = "alembic.ini"')
    for _ in range(2):
        fails(project, said, "*two.py:6: raise SystemExit*")


@pytest.mark.parametrize(
    ("body", "hint"),
    [
        ('op.execute("CREATE EXTENSION pg_stat_statements")', '*extensions = ?"pg_stat_statements"?*'),
        ('op.execute("CREATE EXTENSION no_such_thing")', "*for no_such_thing: install it on that server*"),
        ('op.execute("CREATE TABLE a (id int); GRANT SELECT ON a TO nobody_there")', '*roles = ?"nobody_there"?*'),
        ('op.execute("CREATE TABLE nowhere.a (id int)")', "*CREATE SCHEMA nowhere*"),
    ],
)  # fmt: skip
def test_what_helps(project: Project, body: str, hint: str) -> None:
    """An error of a migration that a setting mends names that setting, filled in."""
    migrations(project, one=body)
    sources(project, 'alembic = "alembic.ini"')
    fails(project, hint)


def test_roles(embedded_project: Project) -> None:
    """Migrations may create roles that are configured, and grant to them; tests connect as each of them.

    The application's role does not own the tables, so that row-level security applies to it.
    """
    project = embedded_project
    migrations(
        project,
        one='op.execute("CREATE ROLE reporting NOLOGIN")',
        two="""op.execute('''
            CREATE TABLE notes (tenant text DEFAULT current_setting('app.tenant', true), body text);
            ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
            CREATE POLICY own ON notes USING (tenant = current_setting('app.tenant', true));
            GRANT SELECT, INSERT ON notes TO shop_app;
            GRANT SELECT ON notes TO reporting;
        ''')""",
    )
    sources(
        project,
        'alembic = "alembic.ini"\nowner = "shop_owner"\nrole = "shop_app"\nroles = ["reporting"]',
    )
    project.passes(
        """
        import pytest
        from sqlalchemy import text
        from sqlalchemy.exc import ProgrammingError

        READ = text("SELECT body FROM notes ORDER BY body")

        def test_tenants(session, role_engine):
            for tenant in ("x", "y"):
                session.execute(text("SELECT set_config('app.tenant', :tenant, true)"), {"tenant": tenant})
                session.execute(text("INSERT INTO notes (body) VALUES (:tenant)"), {"tenant": tenant})
                assert session.scalars(READ).all() == [tenant]
                session.commit()
            with role_engine("shop_owner").connect() as connection:
                assert connection.scalars(READ).all() == ["x", "y"]
            with role_engine("reporting").connect() as connection:
                assert connection.scalars(READ).all() == []
                with pytest.raises(ProgrammingError, match="permission denied"):
                    connection.execute(text("INSERT INTO notes (body) VALUES ('z')"))
        """
    )
