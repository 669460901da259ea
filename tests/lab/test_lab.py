"""The laboratory: the page says what is recorded, every program is recorded, and one is run for real."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest

from greenroom.urls import conninfo
from tests.lab import page
from tests.lab.__main__ import changes, main
from tests.lab.run import (
    NEEDS,
    Environment,
    Program,
    approaches,
    programs,
    run,
    run_greenroom,
    server,
)
from tests.lab.run import environments as environments_of
from tests.lab.ways import PROGRAMS, ROOT, with_fixtures_of

RESULTS = json.loads((Path(__file__).parent / "results.json").read_text())
OURS = Environment("ours", "the environment of these tests", Path(sys.executable), plugins=())


def test_page_is_made_from_the_results() -> None:
    """No table of the page is written or changed by hand."""
    text = page.PAGE.read_text()
    assert page.filled(text, RESULTS) == text


def test_each_program_is_recorded() -> None:
    """In each environment, with an outcome for each of its tests."""
    assert set(RESULTS["programs"]) == {program.name for program in programs()}
    for name, environments in RESULTS["programs"].items():
        expected = [one.name for one in environments_of(newest=False) if name.startswith(one.programs)]
        assert list(environments) == expected
        tests = (PROGRAMS / f"{name}.py").read_text().count("\ndef test_") + (
            PROGRAMS / f"{name}.py"
        ).read_text().count("\nasync def test_")
        for outcomes in environments.values():
            for one in outcomes:
                assert "crash" in one or len({outcome["test"] for outcome in one["outcomes"]}) == tests, name


def test_each_approach_is_recorded() -> None:
    """With an outcome for each of the tests that are the same for all."""
    tests = set(re.findall(r"^(?:async )?def (test_\w+)", NEEDS.read_text(), re.MULTILINE))
    assert list(RESULTS["needs"]) == [approach.name for approach in approaches()]
    for name, (one,) in RESULTS["needs"].items():
        assert {outcome["test"] for outcome in one["outcomes"]} == tests, name


def test_versions_are_the_locked_ones() -> None:
    """After `make lock` took newer ones, the page has to be made again."""
    for lock, title in (("lab-story", "as the story had it"), ("lab-today", "today")):
        pinned = (ROOT / f"requirements/{lock}.txt").read_text()
        for name, version in re.findall(r", (\S+) ([\w.]+)", RESULTS["versions"][title]):
            assert f"\n{name.lower()}=={version} " in pinned, f"{name} {version}: make lab ARGS=--write"


def test_story_is_told_as_it_is() -> None:
    """What the page's text says of the tables: mended programs pass, but for the service's bug, on old and new versions."""
    for name, environments in RESULTS["programs"].items():
        for outcomes in (environments[where] for where in ("story", "today", "psycopg")):
            errors = [
                outcome["error"]
                for one in outcomes
                for outcome in one.get("outcomes", ())
                if outcome["error"]
            ]
            if name.endswith("_mended"):
                assert len(errors) == (1 if name == "a3_mended" else 0), name
                assert all("MissingGreenlet" in error for error in errors)
    for name in ("a1_pooled", "a2_setting", "b1_one_client_each"):
        assert "different loop" in json.dumps(RESULTS["programs"][name]["today"])
        assert "different loop" not in json.dumps(RESULTS["programs"][name]["psycopg"])


def test_nothing_is_of_two_loops_under_greenroom() -> None:
    """What fails there fails for a reason of the program's own: no other loop, no crash, no hang."""
    for name, environments in RESULTS["programs"].items():
        (one,) = environments["unedited"]
        assert "outcomes" in one, name
        for outcome in one["outcomes"]:
            said = f"{outcome['error']} {outcome.get('hidden', '')}"
            assert not re.search("different loop|different event loop|another operation", said), name
            if name.endswith("_mended") and outcome["error"]:
                assert "MissingGreenlet" in said or outcome["alone"], name


def test_a_program_runs() -> None:
    """A synchronous one, in this environment, comes out as recorded for today's versions; and greenroom's tests do."""
    (wrapper,) = (program for program in programs() if program.name == "b4_wrapper")
    with server() as admin:
        assert run(wrapper, OURS, admin) == RESULTS["programs"]["b4_wrapper"]["today"]
        assert run_greenroom(admin) == RESULTS["greenroom"]


def test_killed() -> None:
    """The server of a run that was killed is removed by the next run; that of one that goes on is not."""
    script = "from tests.lab.run import server\nwith server() as admin: print(admin.query['host'], flush=True); input()"
    killed, goes_on = (
        subprocess.Popen(
            [sys.executable, "-c", script], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    )
    with killed, goes_on:
        folders = [Path(started.stdout.readline().strip()) for started in (killed, goes_on) if started.stdout]
        killed.kill()
        killed.wait()
        assert [folder.is_dir() for folder in folders] == [True, True]
        with server() as admin, psycopg.connect(conninfo(admin)):
            assert [folder.exists() for folder in folders] == [False, True]
        goes_on.communicate("\n")
    assert goes_on.returncode == 0
    assert [folder.exists() for folder in folders] == [False, False]


def test_program_that_is_not_there(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that no program has runs none, and is not a success."""
    monkeypatch.setattr(sys, "argv", ["tests.lab", "a1_poled"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "there is no program a1_poled; there are a1_before, " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "came"),
    [
        (
            "import pytest_nowhere\n",
            "`wrong.py`, collection: `ModuleNotFoundError: No module named 'pytest_nowhere'` at wrong.py:5 `import pytest_nowhere`",
        ),
        ("import os\n\ndef test_one():\n    os._exit(7)\n", "pytest ended with 7: it said nothing"),
        ("import os\n\ndef test_one():\n    os.abort()\n", "the interpreter crashes (SIGABRT)"),
    ],
    ids=["collection", "exit", "crash"],
)
def test_what_newer_versions_can_bring(text: str, came: str, tmp_path: Path) -> None:
    """A program that cannot be imported, or ends its interpreter, is an outcome like others: the run goes on."""
    (tmp_path / "wrong.py").write_text(f'"""Wrong\n\ncause: none\n"""\n{text}')
    program = Program.of(tmp_path / "wrong.py")
    with server() as admin:
        (one,) = run(program, OURS, admin)
    assert page.lines(one) == [came]


def test_chance_is_no_change() -> None:
    """Another way to fail is none where chance decides; passing is, and so is anything elsewhere."""
    failed, other, passed = (
        {"outcomes": [{"test": "test_one", "phase": "call", "error": error, "line": ""}], "warnings": []}
        for error in ("RuntimeError: one", "RuntimeError: two", "")
    )
    for name, now, told in (
        ("b3_two_loops", other, []),
        ("b3_two_loops", passed, ["- `test_one`: `RuntimeError: one`", "+ 1 passed"]),
        ("b1_mended", other, ["- `test_one`: `RuntimeError: one`", "+ `test_one`: `RuntimeError: two`"]),
        ("b1_mended", failed, []),
    ):
        found = {"environments": {"today": "today"}, "programs": {name: {"today": [now]}}}
        said = [*changes({"programs": {name: {"today": [failed]}}}, found)]
        assert said == ([f"{name}, today:\n" + "\n".join(told)] if told else [])


def test_fixtures_are_replaced() -> None:
    """A program gets a plugin's session under each name that its tests ask for, and its lines keep their numbers."""
    text = (PROGRAMS / "a4_sync_calls.py").read_text()
    lines, before = with_fixtures_of(text, "sqla_async_session").splitlines(), text.splitlines()
    assert [line for line in lines if line.startswith("def ")] == [
        "def begun(sqla_async_session):",
        "def closed(sqla_async_session):",
    ]
    for number, line in enumerate(before):
        assert lines[number] in {line, ""}
    assert {line for line in before if line.startswith(("async def test_", "    assert"))} <= set(lines)


def test_alone() -> None:
    """A test that fails where nothing is left of others, and fails today, too, if it is alone, is told from one that does not."""
    outcome = {"test": "test_two", "phase": "call", "error": "AssertionError: 1", "line": "a1.py:3 assert"}
    passed = {"test": "test_two", "phase": "call", "error": "", "line": ""}
    assert page.lines({"outcomes": [outcome | {"alone": True}], "warnings": []}) == [
        "`test_two`: `AssertionError: 1` at a1.py:3 `assert`<br>today, too, if it is alone"
    ]
    for alone, counted in ((True, "1"), (False, "–")):
        there = [{"outcomes": [outcome | {"alone": alone}], "warnings": []}]
        results: dict[str, Any] = {"environments": {"today": "today", "unedited": "there"}, "programs": {}}
        for program in programs():
            found = {"today": [{"outcomes": [passed], "warnings": []}], "unedited": there}
            results["programs"][program.name] = (
                found if program.name == "a1_pooled" else {**found, "unedited": found["today"]}
            )
        table = page.matrix(results).splitlines()
        assert "| *pass today, fail here* | none | 1 |" in table
        assert f"| *of which fail today, too, if they are alone* | – | {counted} |" in table


def test_docstrings_are_read() -> None:
    """A program's docstring says what it tries, why it comes out so, and how it is run."""
    program = Program.of(PROGRAMS / "a1_mended.py")
    assert program.title.startswith("Mended")
    assert program.cause == "One loop: two settings, which belong together."
    assert len(program.ini) == 2
    assert Program.of(PROGRAMS / "b3_two_loops.py").runs == 12
