"""Findings that a project has accepted, and where the others are told: the end of a run, the job's summary, GitHub's annotations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from greenroom.annotations import commands
from greenroom.record import Found, RunRecord
from tests.greenroom.conftest import Project

FILE = "tests/known_findings.json"

MODULE = """
from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from shop.main import SessionDependency, app
from shop.models import Customer


def totals(session: Session) -> list[int]:
    return [len(customer.orders) for customer in session.scalars(select(Customer))]


def names(session: Session) -> list[str]:
    return [order.customer.name for order in session.scalars(select(Customer)).first().orders]


@app.get("/totals")
async def get_totals(session: SessionDependency) -> list[int]:
    return await session.run_sync(totals)


async def named(session, number: int) -> str:
    return await session.scalar(select(Customer.name).where(Customer.id == number))


@app.get("/looped")
async def get_looped(session: SessionDependency) -> list[str]:
    return [await named(session, number) for number in (1, 2, 3)]


@app.get("/caught")
async def get_caught(session: SessionDependency) -> int:
    customer = (await session.scalars(select(Customer))).first()
    try:
        return len(customer.orders)
    except Exception:
        return 0
"""

TESTS = """
import pytest
import shop.more
from shop.models import Customer, Order

@pytest.fixture(autouse=True)
def customers(session):
    for name in "Ada", "Bo", "Cy":
        session.add(Customer(name=name, orders=[Order()]))
    session.commit()

def test_totals(client):
    assert client.get("/totals").json() == [1, 1, 1]

def test_totals_again(client):
    client.get("/totals")

def test_looped(client):
    client.get("/looped")

def test_caught(client):
    client.get("/caught")

def test_nothing(client):
    assert client.get("/customers").status_code == 200
"""


@pytest.fixture
def found(project: Project) -> Project:
    """A project with findings in four of its five tests."""
    project.write("shop/more.py", MODULE)
    project.write("tests/test_it.py", TESTS)
    project.replace("pyproject.toml", "seed =", 'n_plus_one = "fail"\nseed =')
    return project


def accept(project: Project, *arguments: str) -> list[dict[str, str]]:
    """Accept what is found. Returns what is in the file then."""
    result = project.pytest("--greenroom-accept-findings", *arguments)
    assert result.ret == 0, result.stdout.str()
    entries: list[dict[str, str]] = json.loads((project.root / FILE).read_text())["findings"]
    return entries


def fail_lazy_loads(project: Project) -> None:
    """Switch on the other watch, too."""
    project.replace("pyproject.toml", "seed =", 'lazy_loads = "fail"\nseed =')


def test_accepted(found: Project) -> None:
    """One run accepts what there is, lazy loads and N+1; from then on only what is new fails, and what is known is counted."""
    found.pytest("tests").assert_outcomes(failed=3, passed=2)
    fail_lazy_loads(found)
    found.pytest("tests").assert_outcomes(failed=4, passed=1)
    entries = accept(found, "tests")
    totals = "return [len(customer.orders) for customer in session.scalars(select(Customer))]"
    assert {
        "kind": "n_plus_one",
        "file": "shop/more.py",
        "function": "totals",
        "line": totals,
        "attribute": "Customer.orders",
        "test": "tests/test_it.py::test_totals",
    } in entries
    assert [(entry["kind"], entry["function"]) for entry in entries] == [
        ("lazy_loads", "get_caught"),
        ("lazy_loads", "totals"),
        ("n_plus_one", "named"),
        ("n_plus_one", "totals"),
    ]
    result = found.pytest("tests")
    result.assert_outcomes(passed=5)
    result.stdout.fnmatch_lines(["greenroom: 4 known findings (tests/known_findings.json)"])
    assert "no longer" not in result.stdout.str()
    assert accept(found, "tests") == entries


@pytest.mark.parametrize("setting", ["lazy_loads", "n_plus_one"])
def test_new_beside_known(found: Project, setting: str) -> None:
    """What is new fails, also if it is the same attribute on another line, or the same line on another way."""
    found.replace("pyproject.toml", 'n_plus_one = "fail"', f'{setting} = "fail"')
    accept(found, "tests")
    text = (found.root / "shop/more.py").read_text()
    more = """
        def others(session: Session) -> list[int]:
            return sorted(len(customer.orders) for customer in session.scalars(select(Customer)))


        @app.get("/others")
        async def get_others(session: SessionDependency) -> list[int]:
            return await session.run_sync(others)


        @app.get("/another-loop")
        async def get_another(session: SessionDependency) -> list[str]:
            return [await named(session, number) for number in (3, 2, 1)]
    """
    # Lines above it do not matter.
    found.write("shop/more.py", more)
    added = (found.root / "shop/more.py").read_text()
    (found.root / "shop/more.py").write_text(
        f"{text.replace('def totals', '# moved' + chr(10) * 3 + 'def totals')}\n\n{added}"
    )
    with (found.root / "tests/test_it.py").open("a") as file:
        file.write("""
def test_others(client):
    client.get("/totals")
    client.get("/others")

def test_another_loop(client):
    client.get("/another-loop")
""")
    result = found.pytest("tests")
    failed = 1 if setting == "lazy_loads" else 2
    result.assert_outcomes(passed=7 - failed, failed=failed)
    result.stdout.fnmatch_lines(["*_ test_others _*", "*shop/more.py:*: return sorted(len(customer.orders)*"])
    assert "/totals loaded" not in result.stdout.str()


def test_that_no_longer_occur(found: Project) -> None:
    """Entries that no longer occur are named where their test has run, or is gone; accepting removes them."""
    accept(found, "tests")
    found.replace(
        "shop/more.py", "select(Customer))]", "select(Customer).options(selectinload(Customer.orders)))]"
    )
    found.replace("shop/more.py", "orm import Session", "orm import Session, selectinload")
    result = found.pytest("tests")
    result.stdout.fnmatch_lines([
        "greenroom: 1 known finding (tests/known_findings.json)",
        "greenroom: 1 known finding no longer there. Remove from tests/known_findings.json, or run pytest --greenroom-accept*",
        "  n_plus_one: shop/more.py, totals(): return * (Customer.orders)",
    ])  # fmt: skip
    for arguments in (
        ["-k", "looped"],
        ["tests/test_it.py::test_looped"],
        ["tests/test_it.py::test_nothing"],
    ):
        assert "no longer there" not in found.pytest(*arguments).stdout.str()
    # An entry of a test that does not run stays.
    assert len(accept(found, "tests/test_it.py::test_looped")) == 2
    [entry] = accept(found, "tests")
    assert entry["function"] == "named"
    assert entry["via"] == "shop/more.py:get_looped"
    found.replace("tests/test_it.py", "test_looped", "test_renamed")
    found.replace("tests/test_it.py", "/looped", "/customers")
    assert "1 known finding no longer there" in found.pytest("tests").stdout.str()
    (found.root / "tests/test_it.py").rename(found.root / "tests/test_that.py")
    assert "1 known finding no longer there" in found.pytest("tests").stdout.str()
    assert accept(found, "tests") == []


def test_a_failed_test_says_nothing(found: Project) -> None:
    """A test that fails before it comes to the line does not say that an entry no longer occurs."""
    accept(found, "tests")
    found.replace("tests/test_it.py", 'client.get("/looped")', "assert False")
    result = found.pytest("tests", "--greenroom-accept-findings")
    result.assert_outcomes(passed=4, failed=1)
    result.stdout.fnmatch_lines(["greenroom: accepted 2 findings (0 new): tests/known_findings.json"])


def test_workers(found: Project) -> None:
    """The workers of pytest-xdist find and accept together, and the file is the same."""
    entries = accept(found, "tests", "-n", "2")
    assert len(entries) == 2
    assert accept(found, "tests") == entries
    result = found.pytest("tests", "-n", "2")
    result.assert_outcomes(passed=5)
    result.stdout.fnmatch_lines(["greenroom: 2 known findings (tests/known_findings.json)"])
    found.replace("shop/more.py", "select(Customer))]", "select(Customer).where(Customer.id == 0))]")
    found.replace("tests/test_it.py", "== [1, 1, 1]", "== []")
    assert "1 known finding no longer there" in found.pytest("tests", "-n", "2").stdout.str()
    assert "no longer there" not in found.pytest("tests", "-n", "2", "-k", "looped").stdout.str()


def test_nothing_to_accept(project: Project) -> None:
    """A run that watches nothing says what to set, and writes no file."""
    project.write("tests/test_it.py", "def test_it(client): client.get('/customers')\n")
    result = project.pytest("--greenroom-accept-findings", "tests/test_it.py")
    result.stdout.fnmatch_lines(
        ["greenroom: nothing was found, so there is nothing to accept. Set n_plus_one = *"]
    )
    assert not (project.root / FILE).exists()


@pytest.mark.parametrize("text", ["[", "{}", '{"findings": [{"kind": 1}]}', '{"findings": [{"lines": "a"}]}'])
def test_broken_file(found: Project, text: str) -> None:
    """A file that is something else is refused, with the command that writes it."""
    (found.root / FILE).write_text(text)
    result = found.pytest("tests")
    assert result.ret == 4
    assert (
        f"{found.root / FILE} must be what pytest --greenroom-accept-findings writes. Found: "
        in result.stderr.str()
    )


def test_warned(found: Project) -> None:
    """Where a finding is a warning, one that is known is none."""
    found.replace("pyproject.toml", '"fail"', '"warn"')
    found.pytest("tests", "-W", "default").assert_outcomes(passed=5, warnings=3)
    accept(found, "tests")
    found.pytest("tests", "-W", "default").assert_outcomes(passed=5)


def test_annotations(found: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """On GitHub Actions, each new finding is marked at its line in the pull request."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(found.root.parent))
    accept(found, "tests/test_it.py::test_looped")
    result = found.pytest("tests")
    lines = [line for line in result.outlines if line.startswith("::")]
    assert lines == [
        (
            f"::error file={found.root.name}/shop/more.py,line=11,title=greenroom%3A N+1::GET /totals loaded `Customer.orders` 3 times, "
            "with a query each (N+1) (tests/test_it.py::test_totals)"
        )
    ]


def test_annotations_escape(tmp_path: Path) -> None:
    """What would end a property or the line is escaped; a finding without a line, and one that is known, has no place to be shown."""
    finding = Found(
        "n_plus_one", "a,b:c.py", "f", "x", "", number=3, title="50% of\nit", test="t", outcome="warned"
    )
    known = Found("n_plus_one", "a.py", "f", "x", "", outcome="known")
    nowhere = Found("n_plus_one", "", "", "", "A.b")
    assert commands([finding, known, nowhere], tmp_path) == [
        "::warning file=a%2Cb%3Ac.py,line=3,title=greenroom%3A N+1::50%25 of%0Ait (t)"
    ]


def test_summary(found: Project) -> None:
    """The job's summary lists the new findings, in how many tests they are, and how many are known."""
    accept(found, "tests/test_it.py::test_looped")
    assert found.greenroom("ci").returncode == 1
    summary = (found.root / "reports/summary.md").read_text()
    assert "| found by the watch | where | tests |" in summary
    assert (
        "| ``GET /totals loaded `Customer.orders` 3 times, with a query each (N+1)`` | `shop/more.py:11` `return ["
        in summary
    )
    assert "` | 2 |" in summary
    assert "1 known finding beside that." in summary
    record = RunRecord.load(found.root / "reports")
    assert [(each.function, each.outcome, each.tests) for each in record.findings] == [
        ("totals", "failed", 2), ("named", "known", 1),
    ]  # fmt: skip
