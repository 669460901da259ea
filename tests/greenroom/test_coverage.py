"""Coverage counts what runs inside SQLAlchemy's greenlets and in the loop's thread.

The project `traced` says of each of its lines whether its tests run it, and of each branch whether it goes one way only.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from coverage import Coverage

from benchmarks.cores import BOTH, SETTINGS, Plugin, Setting, Wrong, measured
from greenroom.coverage import core, exact
from tests.greenroom.conftest import ROOT

EXACT = [
    setting
    for setting in SETTINGS
    if not setting.why_not and (setting.core == "sysmon" or setting.concurrency == BOTH)
]
"""What the documentation says is exact, as far as this Python has it."""


@pytest.mark.parametrize("setting", EXACT, ids=lambda setting: setting.name)
@pytest.mark.parametrize("way", [{}, {"workers": 2}, {"parts": True}], ids=["alone", "xdist", "combined"])
def test_exact(setting: Setting, way: dict[str, Any], tmp_path: Path) -> None:
    """No line and no branch is wrong: in services, listeners, `run_sync`, streams, cancelled tasks and threads."""
    assert measured(setting, tmp_path / "traced", **way) == Wrong([], [], [])


def test_what_the_setting_is_for(tmp_path: Path) -> None:
    """Without greenlets, the C tracer loses lines: the setting is needed, and the test above can fail."""
    wrong = measured(Setting("ctrace", ("thread",), branch=False), tmp_path / "traced")
    assert (
        "traced/main.py: return (await self.session.scalars(select(Item).where(Item.name == name))).one()"
        in wrong.lost
    )
    assert "traced/main.py: await self.session.refresh(item)" in wrong.lost


@pytest.mark.parametrize("branch", [False, True])
def test_plugin(branch: bool, tmp_path: Path) -> None:
    """Greenroom's plugin of coverage chooses a core that is exact, for lines and for branches."""
    assert measured(Plugin(branch), tmp_path / "traced", workers=2) == Wrong([], [], [])


@pytest.mark.parametrize(
    ("version", "lines", "branches"),
    [
        ((3, 11), "ctrace", "ctrace"),
        ((3, 12), "sysmon", "ctrace"),
        ((3, 13), "sysmon", "ctrace"),
        ((3, 14), "sysmon", "sysmon"),
        ((3, 15), "sysmon", "sysmon"),
    ],
)
def test_choice(version: tuple[int, int], lines: str, branches: str) -> None:
    """The quickest core that is exact on each Python."""
    assert (core(branch=False, version=version), core(branch=True, version=version)) == (lines, branches)


@pytest.mark.parametrize(
    ("settings", "since"),
    [
        ({"plugins": ["greenroom.coverage"]}, (3, 11)),
        ({"concurrency": ["greenlet", "thread"], "branch": True}, (3, 11)),
        ({"concurrency": "thread", "core": "sysmon"}, (3, 12)),
        ({"core": "sysmon", "branch": True}, (3, 14)),
        ({"branch": True}, (3, 14)),
        ({}, (3, 14)),
        ({"core": "ctrace"}, None),
        ({"concurrency": ["gevent"]}, None),
        ({"dynamic_context": "test_function"}, None),
    ],
)
def test_what_doctor_accepts(
    settings: dict[str, Any], since: tuple[int, int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings are exact from the first Python on on which coverage follows greenlets with them."""
    monkeypatch.delenv("COVERAGE_CORE", raising=False)
    for version in ((3, 11), (3, 12), (3, 13), (3, 14), (3, 15)):
        assert exact(settings, version=version) == (since is not None and version >= since), version


@pytest.mark.parametrize(
    ("settings", "chosen", "concurrency"),
    [
        ("", core(branch=False), None),
        ('core = "ctrace"', "ctrace", ["greenlet", "thread"]),
        (
            'core = "ctrace"\nconcurrency = ["multiprocessing"]',
            "ctrace",
            ["greenlet", "multiprocessing", "thread"],
        ),
        ('dynamic_context = "test_function"', "ctrace", ["greenlet", "thread"]),
        ('concurrency = ["gevent"]', "ctrace", ["gevent", "greenlet", "thread"]),
    ],
)
def test_what_a_project_has_set(
    settings: str, chosen: str, concurrency: list[str] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A core that the project names is kept, with the concurrency that makes it exact; contexts and gevent get the C tracer."""
    monkeypatch.delenv("COVERAGE_CORE", raising=False)
    file = tmp_path / "pyproject.toml"
    file.write_text(f'[tool.coverage.run]\nplugins = ["greenroom.coverage"]\n{settings}\n')
    coverage = Coverage(config_file=str(file), data_file=None)
    coverage.sys_info()  # it reads its configuration when it is first asked for more than an option
    assert coverage.get_option("run:core") == chosen
    wanted = concurrency or (["thread"] if chosen == "sysmon" else ["greenlet", "thread"])
    assert coverage.get_option("run:concurrency") == wanted


def test_reference_configuration_has_it() -> None:
    """This repository's own configuration has what the tests above show to be right."""
    run = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["coverage"]["run"]
    assert run["plugins"] == ["greenroom.coverage"]
    assert not {"core", "concurrency"} & set(run)
