"""Each known error is explained, at the user's own line, with code for the user's own model."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.greenroom.explained import (
    CASES,
    DRIVERS,
    TABLE,
    Case,
    Outcome,
    cell,
    line_of,
    outcomes,
    run,
)

FAQ = (Path(__file__).parents[2] / "docs" / "faq.md").read_text()

Results = dict[str, dict[str, Outcome]]


@pytest.fixture(scope="module")
def results(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """What the tests of the project came to, for each driver."""
    found = {}
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("GREENROOM_SERVER_URL", server_url)
        for name in ("DATABASE_URL", "PYTEST_ADDOPTS", "GREENROOM_ENGINE", "GREENROOM_RUN"):
            environment.delenv(name, raising=False)
        for driver in DRIVERS:
            root = tmp_path_factory.mktemp(driver) / "explained"
            run(root, driver)
            found[driver] = outcomes(root)
    return found


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_explained(results: Results, case: Case, driver: str) -> None:
    """The error is raised, and the report explains it: at its line, with the names and the code of that line."""
    outcome = results[driver][case.name]
    if driver == "psycopg" and not case.both:
        assert not outcome.error
        return
    assert re.search(case.raised, outcome.error + outcome.explanation, re.DOTALL), outcome.error[-2000:]
    text = outcome.explanation
    assert text, outcome.error[-2000:]
    if case.here is not None:
        assert text.startswith(f"{line_of(case.here or case.name)}: ")
    unbroken = " ".join(text.split())
    for words in case.says:
        assert " ".join(words.split()) in unbroken, text
    assert not case.link or text.rstrip().endswith(f"more: docs/faq.md#{case.link}"), text


def test_every_failure_is_a_case(results: Results) -> None:
    """The project has no test that fails and that is not in the list, and no test but one that is meant to pass."""
    assert set(results["asyncpg"]) - {case.name for case in CASES} == {"swallowed_and_expected"}
    for found in results.values():
        assert found["swallowed_and_expected"] == Outcome("", "")


def test_table(results: Results) -> None:
    """docs/explained-errors.md says what the run with the installed SQLAlchemy says, and leaves no error unexplained."""
    rows = [line.strip("|").split(" | ") for line in TABLE.read_text().splitlines() if line.startswith("| ")]
    heads = [head.strip() for head in rows[0]]
    columns = {driver: heads.index(f"{driver}, 2.1") for driver in DRIVERS}
    assert {head for head in heads if head.endswith("2.0")} == {f"{driver}, 2.0" for driver in DRIVERS}
    cells = {row[0].strip().replace(" ", "_"): row for row in rows[2:]}
    assert list(cells) == [case.name for case in CASES]
    for name, row in cells.items():
        assert "NOT EXPLAINED" not in row
        for driver, column in columns.items():
            assert row[column].strip() == cell(results[driver][name]), name


@pytest.mark.parametrize("case", [case for case in CASES if case.link], ids=lambda case: case.name)
def test_quoted(results: Results, case: Case) -> None:
    """The section of docs/faq.md that an explanation names is there, and quotes the error as it is raised."""
    sections = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", FAQ, re.MULTILINE | re.DOTALL))
    anchors = {
        re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-"): body
        for title, body in sections.items()
    }
    assert case.link in anchors
    raised = " ".join(
        results["asyncpg"][case.name].error.split() + results["asyncpg"][case.name].explanation.split()
    )
    quotes = re.findall(r"^> `(.+)`$", anchors[case.link], re.MULTILINE)
    assert quotes
    if not case.name.startswith("swallowed"):
        patterns = [".*?".join(map(re.escape, quote.split("…"))) for quote in quotes]
        assert any(re.search(pattern, raised) for pattern in patterns), (quotes, raised[-1500:])
