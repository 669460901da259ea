"""Each known error is explained, at the user's own line, with code for the user's own model."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from greenroom.explain.page import anchor
from greenroom.explain.registry import RECOGNISERS
from tests.greenroom.explained import DRIVERS, PAGE, Outcome, cells, line_of, outcomes, run, stated
from tests.greenroom.explained_cases import CASES, Case

FAQ = (Path(__file__).parents[2] / "docs" / "faq.md").read_text()


SECTIONS = {
    anchor(title): body
    for title, body in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", FAQ, re.MULTILINE | re.DOTALL)
}


# One test for each driver: each takes a run of the whole project, which workers could not share.
@pytest.mark.parametrize("driver", DRIVERS)
def test_explained(
    driver: str,
    server_url: str,
    clean_environment: None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """With this driver each error is raised, and its report explains it: its line, its names, its code, its section.

    docs/faq.md quotes it in that section, and docs/explained-errors.md says what this run says.
    """
    monkeypatch.setenv("GREENROOM_SERVER_URL", server_url)
    root = tmp_path / "explained"
    run(root, driver)
    found = outcomes(root)
    # No test of the project is left out, and the one that is meant to pass does.
    assert found.keys() - {case.name for case in CASES} == {"swallowed_and_expected"}
    assert found["swallowed_and_expected"] == Outcome("", "")
    said, now = stated(driver, "2.1"), cells(found, catches=False)
    assert said.keys() == {case.name for case in CASES}
    assert "NO" not in said.values()
    wrong = []
    for case in CASES:
        outcome = found[case.name]
        if driver == "psycopg" and not case.both:
            missing = ["it was raised"] if outcome.error else []
        else:
            missing = missing_in(case, outcome)
        if said[case.name] != now[case.name]:
            missing.append(f"{now[case.name]} in {PAGE.name}")
        if missing:
            wrong.append(f"{case.name}: {missing}\n{outcome.explanation or outcome.error[-2000:]}")
    assert not wrong, "\n\n".join(wrong)


@pytest.mark.parametrize("driver", DRIVERS)
def test_caught(
    driver: str,
    server_url: str,
    clean_environment: None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Each error is explained with the same section where the application catches it and answers with a 500."""
    monkeypatch.setenv("GREENROOM_SERVER_URL", server_url)
    root = tmp_path / "explained"
    run(root, driver, catches=True)
    found = cells(outcomes(root), catches=True)
    assert found == stated(driver, "2.1", catches=True)
    # What a client has not entered is not to be seen in the application.
    assert {name for name, said in found.items() if said == "NO"} == {
        "swallowed_and_unknown",
        "lifespan_of_the_request",
    }


def missing_in(case: Case, outcome: Outcome) -> list[str]:
    """What should be in a test's report, and is not."""
    report, text = outcome.error + outcome.explanation, outcome.explanation
    missing = [] if re.search(case.raised, report, re.DOTALL) else [case.raised]
    if case.here is not None and not text.startswith(f"{line_of(case.here or case.name)}: "):
        missing.append(line_of(case.here or case.name))
    unbroken = " ".join(text.split())
    missing += [words for words in case.says if " ".join(words.split()) not in unbroken]
    if not text:
        missing.append("an explanation")
    if case.section:
        more = f"more: docs/faq.md#{case.section}, or: greenroom explain --about {case.section}"
        if not text.rstrip().endswith(more):
            missing.append(case.section)
        if not case.name.startswith("swallowed") and not quoted(case.section, report):
            missing.append(f"a quote in the section {case.section} of docs/faq.md")
    return missing


def quoted(section: str, report: str) -> bool:
    """Whether a section of docs/faq.md quotes an error that is in the report; an ellipsis stands for anything."""
    blocks = re.findall(r"^```text\n(.*?)^```$", SECTIONS.get(section, ""), re.MULTILINE | re.DOTALL)
    quotes = [line for block in blocks for line in block.splitlines()]
    patterns = [".*?".join(map(re.escape, quote.split("…"))) for quote in quotes]
    return any(re.search(pattern, " ".join(report.split())) for pattern in patterns)


def test_sections() -> None:
    """Each recogniser names a section of the page, and each section of the page has a recogniser or a case."""
    assert {recogniser.section for recogniser in RECOGNISERS} <= SECTIONS.keys()
    assert SECTIONS.keys() == {recogniser.section for recogniser in RECOGNISERS} | {
        case.section for case in CASES if case.section
    }
