"""The template's hash: whatever shapes the template changes it, and nothing else does."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.greenroom.conftest import Project

REVISION = """
    from alembic import op

    revision, down_revision = "{number}", {before!r}

    def upgrade():
        op.execute("CREATE TABLE t{number} (id int PRIMARY KEY)")
"""

ENV = """
    from alembic import context

    context.configure(connection=context.config.attributes["connection"])
    with context.begin_transaction():
        context.run_migrations()
"""


@pytest.fixture
def migrated(project: Project) -> Project:
    """A project with migrations, in a folder of its own beside the application, and a seed."""
    project.write("alembic.ini", "[alembic]\nscript_location = %(here)s/migrations\n")
    project.write("migrations/env.py", ENV)
    project.write("migrations/script.py.mako", "")
    project.write("migrations/README", "About the migrations.\n")
    project.write("migrations/versions/one.py", REVISION.format(number=1, before=None))
    project.write("migrations/rows.csv", "a,b\n")
    project.write("seed.sql", "INSERT INTO t1 VALUES (1);\n")
    project.write("app.py", "app = None\n")
    project.write(
        "pyproject.toml",
        """
        [tool.greenroom]
        app = "app:app"
        alembic = "alembic.ini"
        seed = ["seed.sql"]
        keep_failed = 3

        [tool.greenroom.environment]
        LEVEL = "1"
        """,
    )
    return project


def template(project: Project) -> str:
    """The name of the project's template."""
    done = project.command("migrate", "--status")
    assert done.returncode == 0, done.stderr
    found = re.search(r"^(greenroom_template_\w+): ", done.stdout, re.MULTILINE)
    assert found
    return found[1]


SHAPES: dict[str, Callable[[Project], object]] = {
    "another revision": lambda project: project.write(
        "migrations/versions/two.py", REVISION.format(number=2, before="1")
    ),
    "an edited revision": lambda project: project.replace(
        "migrations/versions/one.py", "id int", "id bigint"
    ),
    "a comment in a revision": lambda project: project.replace(
        "migrations/versions/one.py", "def", "# It may be a pragma.\ndef"
    ),
    "env.py": lambda project: project.replace("migrations/env.py", "with", "# changed\nwith"),
    "a file that a migration reads": lambda project: project.write("migrations/rows.csv", "a,c\n"),
    "a renamed file": lambda project: (project.root / "migrations/rows.csv").rename(
        project.root / "migrations/more.csv"
    ),
    "the seed": lambda project: project.write("seed.sql", "INSERT INTO t1 VALUES (2);\n"),
    "a second seed": lambda project: project.replace(
        "pyproject.toml", '["seed.sql"]', '["seed.sql", "migrations/rows.csv"]'
    ),
    "an extension": lambda project: project.replace(
        "pyproject.toml", "keep_failed", 'extensions = ["citext"]\nkeep_failed'
    ),
    "the role": lambda project: project.replace(
        "pyproject.toml", "keep_failed", 'role = "another"\nkeep_failed'
    ),
    "a setting of Alembic's": lambda project: project.replace(
        "alembic.ini", "[alembic]\n", "[alembic]\nschema = another\n"
    ),
    "the application's environment": lambda project: project.replace("pyproject.toml", '"1"', '"2"'),
}

SHAPES_NOT: dict[str, Callable[[Project], object]] = {
    "the application": lambda project: project.write("app.py", "app = 1\n"),
    "a test": lambda project: project.write("tests/test_new.py", "def test(): pass\n"),
    "a setting of the runs": lambda project: project.replace(
        "pyproject.toml", "keep_failed = 3", "keep_failed = 5"
    ),
    "another tool's settings": lambda project: project.replace(
        "pyproject.toml", "[tool.greenroom]\n", "[tool.other]\nx = 1\n\n[tool.greenroom]\n"
    ),
    "the URL in alembic.ini": lambda project: project.replace(
        "alembic.ini", "[alembic]\n", "[alembic]\nsqlalchemy.url = postgresql:///another\n"
    ),
    "the logging in alembic.ini": lambda project: project.write(
        "alembic.ini", f"{(project.root / 'alembic.ini').read_text()}\n[loggers]\nkeys = root\n"
    ),
    "the pattern for new revisions": lambda project: project.write(
        "migrations/script.py.mako", "# ${message}\n"
    ),
    "the README beside the revisions": lambda project: project.write("migrations/README", "More.\n"),
    "compiled files": lambda project: project.write("migrations/__pycache__/env.cpython-311.pyc", "x"),
    "an editor's file": lambda project: project.write("migrations/versions/.one.py.swp", "x"),
    "the time of a file": lambda project: (project.root / "migrations/env.py").touch(),
}


@pytest.mark.parametrize("change", SHAPES)
def test_shapes_the_template(migrated: Project, change: str) -> None:
    """An edit to what shapes the template leads to another one; taken back, to the one before."""
    before = template(migrated)
    files = {path: path.read_bytes() for path in migrated.root.rglob("*") if path.is_file()}
    SHAPES[change](migrated)
    assert template(migrated) != before
    for path in migrated.root.rglob("*"):
        if path.is_file() and path not in files:
            path.unlink()
    for path, content in files.items():
        path.write_bytes(content)
    assert template(migrated) == before


def test_shapes_nothing(migrated: Project) -> None:
    """Edits to what does not shape it lead to no other template."""
    before = template(migrated)
    for change in SHAPES_NOT.values():
        change(migrated)
        assert template(migrated) == before, change


def test_hash_is_explained(migrated: Project) -> None:
    """`migrate --status` lists what goes into the hash, so that two lists show what differs, and whether it is built."""
    done = migrated.command("migrate", "--status")
    subjects = [line.partition("  ")[2] for line in done.stdout.splitlines() if "  " in line]
    assert subjects == [
        "format", "server version", "roles", "extensions", "source", "alembic", "environment",
        "migrations/env.py", "migrations/rows.csv", "migrations/versions/one.py", "seed.sql",
    ]  # fmt: skip
    assert "to be built by the next run" in done.stdout
    assert migrated.greenroom("migrate").returncode == 0
    again = migrated.command("migrate", "--status").stdout
    assert ": up to date" in again
    assert again.splitlines()[:11] == done.stdout.splitlines()[:11]


LAYOUTS = {
    "relative to the working directory": ("db/alembic.ini", "script_location = migrations"),
    "interpolated": ("alembic.ini", "base = %(here)s\nscript_location = %(base)s/migrations"),
    "in a package": ("alembic.ini", "script_location = pkg:migrations\nprepend_sys_path = src"),
    "separated by spaces": (
        "alembic.ini",
        "script_location = migrations\nversion_locations = migrations/versions more",
    ),
    "separated as paths are": (
        "alembic.ini",
        "script_location = migrations\npath_separator = os\nversion_locations = %(here)s/migrations/versions:%(here)s/more ones",
    ),
    "separated by newlines": (
        "alembic.ini",
        "script_location = migrations\npath_separator = newline\nversion_locations =\n  migrations/versions\n  more ones",
    ),
    "as older templates of Alembic have it": (
        "alembic.ini",
        "script_location = migrations\nversion_path_separator = os  # Use os.pathsep. Default configuration used for new projects.",
    ),
    "in pyproject.toml": (
        "pyproject.toml",
        "[tool.alembic]\nscript_location = '%(here)s/migrations'\nversion_locations = ['migrations/versions', 'more ones']",
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_wherever_alembic_finds_them(migrated: Project, layout: str) -> None:
    """What shapes the template is found wherever Alembic finds it, and the migrations run."""
    path, settings = LAYOUTS[layout]
    (migrated.root / "alembic.ini").unlink()
    migrated.replace("pyproject.toml", '"alembic.ini"', repr(path))
    if path == "pyproject.toml":
        migrated.write(path, f"{(migrated.root / path).read_text()}\n{settings}\n")
    else:
        migrated.write(path, f"[alembic]\n{settings}\n")
    if "pkg:" in settings:
        migrated.write("src/pkg/__init__.py", "")
        (migrated.root / "migrations").rename(migrated.root / "src/pkg/migrations")
    more = next((name for name in ("more ones", "more") if name in settings), None)
    if more is not None:
        migrated.write(f"{more}/two.py", REVISION.format(number=2, before="1"))
        migrated.write("seed.sql", "INSERT INTO t2 VALUES (2);\n")
    status = migrated.command("migrate", "--status").stdout
    assert "/versions/one.py" in status
    assert (more is not None) == ("/two.py" in status)
    done = migrated.greenroom("migrate")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[alembic]\n", "has no script_location"),
        ("[alembic]\nscript_location = nowhere\n", "names a folder for Alembic that is not there: "),
        ("[alembic]\nscript_location = %(base)s/migrations\n", "cannot be read: "),
        ("script_location = migrations\n", "cannot be read: "),
        (
            "[alembic]\nscript_location = migrations\npath_separator = tab\nversion_locations = migrations/versions\n",
            "Found: 'tab'.",
        ),
    ],
)
def test_wrong_settings_of_alembic(migrated: Project, text: str, message: str) -> None:
    """What Alembic would not understand either is an error that names the file."""
    migrated.write("alembic.ini", text)
    done = migrated.command("migrate", "--status")
    assert done.returncode == 2
    assert message in done.stderr
    assert "alembic.ini" in done.stderr
    assert "Traceback" not in done.stderr
