"""The databases of failed tests, kept."""

from __future__ import annotations

import shlex

from tests.greenroom.conftest import Project

TESTS = """
    import pytest
    from shop.models import Customer

    @pytest.mark.parametrize("number", range(5))
    def test_fails(client, session, number):
        client.post(f"/customers/of-{number}")
        session.add(Customer(name="not committed"))
        session.flush()
        assert number < 0

    @pytest.fixture
    def broken(client):
        client.post("/customers/of-fixture")
        raise LookupError

    def test_fails_in_a_fixture(broken):
        pass

    @pytest.mark.unit
    def test_without_a_database():
        assert False

    def test_passes(client):
        assert client.get("/customers").json() == []
"""

NAMES = "SELECT string_agg(name, ' ') FROM customers"


def test_failed_test(project: Project) -> None:
    """The database of a failed test is kept as it was, survives the run, and is opened by the test's name."""
    project.write("tests/test_it.py", TESTS)
    result = project.pytest("-k", "fails and (1 or 2 or fixture) or passes or without")
    result.assert_outcomes(passed=1, failed=3, errors=1)
    result.stdout.fnmatch_lines([
        "*greenroom psql 'tests/test_it.py::test_fails[[]1]'",
        ".greenroom/kept/tests-test_it-test_fails-1-*.sql",
    ])  # fmt: skip
    try:
        listed = [line.split("KiB  ")[1] for line in project.command("kept").stdout.splitlines()]
        assert listed == [
            "tests/test_it.py::test_fails[1]",
            "tests/test_it.py::test_fails[2]",
            "tests/test_it.py::test_fails_in_a_fixture",
        ]
        for test, names in {"test_fails[1]": "of-1\n", "fixture": "of-fixture\n"}.items():
            done = project.greenroom("psql", test, "--", "-Atc", NAMES)
            assert done.stdout == names, done.stderr
        assert "kept_" in project.greenroom("url", "test_fails[2]").stdout
        # Restored as the application's own, and with what is not greenroom's.
        done = project.greenroom(
            "psql", "test_fails[2]", "--", "-Atc", "SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal"
        )
        assert done.stdout == "0\n"
        for wrong in ("test_fails", "test_passes"):
            done = project.greenroom("psql", wrong)
            assert done.returncode == 2
            assert "must name one kept database" in done.stderr
    finally:
        project.command("down")
    project.pytest("-k", "passes").assert_outcomes(passed=1)
    assert project.command("kept").stdout == ""


def test_count(project: Project) -> None:
    """Three are kept of a run, or as many as the configuration says, which may be none."""
    project.write("tests/test_it.py", TESTS)
    project.pytest("-k", "fails")
    assert len(project.command("kept").stdout.splitlines()) == 3
    project.replace("pyproject.toml", "seed =", "keep_failed = 1\nseed =")
    project.pytest("-k", "fails")
    assert len(project.command("kept").stdout.splitlines()) == 1
    assert project.command("kept", "--drop").returncode == 0
    assert project.command("kept").stdout == ""
    project.replace("pyproject.toml", "keep_failed = 1", "keep_failed = 0")
    result = project.pytest("-k", "fails")
    assert "greenroom psql" not in result.stdout.str()
    assert project.command("kept").stdout == ""


def test_database_that_cannot_be_copied(project: Project) -> None:
    """A table that the failed test has locked does not hang the run: the report says so, and stays what it is."""
    project.write(
        "tests/test_it.py",
        """
        from sqlalchemy import text

        def test_it(session):
            session.execute(text("LOCK TABLE customers"))
            assert False, "the test's own reason"
        """,
    )
    result = project.pytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*the test's own reason*", "The database could not be kept: pg_dump failed: *LOCK TABLE*"]
    )


ODD = ["it's", "a/b/../c", "sp ace", "ünï", "semi;colon", "$(touch x)", "new\\nline", "x" * 300]


def test_odd_names(project: Project) -> None:
    """A test's name may hold anything; what is printed opens its database, also of one that ran in a worker."""
    project.replace("pyproject.toml", "seed =", f"keep_failed = {len(ODD)}\nseed =")
    project.write(
        "tests/test_it.py",
        f"""
        import pytest

        @pytest.mark.parametrize("word", {ODD!r}, ids={ODD!r})
        def test_fails(client, word):
            client.post("/customers/" + str({ODD!r}.index(word)))
            assert False
        """,
    )
    result = project.pytest("-n", "2")
    result.assert_outcomes(failed=len(ODD))
    commands = [
        line.partition("greenroom psql ")[2] for line in result.stdout.lines if "greenroom psql " in line
    ]
    assert len(commands) == len(ODD)
    try:
        names = set()
        for command in commands:
            (test,) = shlex.split(command)
            done = project.greenroom("psql", test, "--", "-Atc", NAMES)
            assert done.returncode == 0, done.stderr
            names.add(done.stdout.strip())
        assert names == {str(number) for number in range(len(ODD))}
    finally:
        project.command("down")
