"""What the watch has found in a run: gathered from all processes, told at the end, and accepted if that is asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Final

import pytest

from greenroom.annotations import commands, wanted
from greenroom.record import Found, together

if TYPE_CHECKING:
    from greenroom.worker import Worker

_FOUND: Final = "greenroom_found"
_WATCHED: Final = "greenroom_watched"
"""Attributes of a test's report, which pytest-xdist carries to the managing process."""

_NARROWED: Final = "greenroom_narrowed"

_LISTED: Final = 20
"""How many entries that no longer occur are listed."""


class Findings:
    """Gathers the findings of this process and of its workers.

    Args:
        worker: This process.
    """

    def __init__(self, worker: Worker) -> None:
        self._watch = worker.watch
        self._root = worker.config.root
        self._off = worker.config.lazy_loads == "allow" and worker.config.n_plus_one == "off"
        self._found: list[Found] = []
        self._ran: set[str] = set()
        self._passed: dict[str, list[str]] = {}
        self._narrowed = False
        self._said: list[str] = []

    @property
    def found(self) -> tuple[Found, ...]:
        """What was found, each once."""
        return together(self._found)

    def pytest_configure(self, config: pytest.Config) -> None:
        """Learn whether all is to be accepted."""
        self._watch.known.accepts = config.option.greenroom_accept_findings
        self._narrowed = any("::" in argument for argument in config.args)

    def pytest_deselected(self) -> None:
        """Note that this run is not all of the suite."""
        self._narrowed = True

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Put what was found into the report."""
        report = yield
        if found := self._watch.known.take():
            vars(report)[_FOUND] = [dataclasses.asdict(each) for each in found]
        if report.when == "call":
            current = self._watch.current
            watched = {"lazy_loads": current.lazy_loads == "fail", "n_plus_one": current.n_plus_one != "off"}
            vars(report)[_WATCHED] = [kind for kind, on in watched.items() if on]
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Gather, here or from a worker."""
        values: dict[str, Any] = vars(report)
        self._ran.add(report.nodeid)
        # One test that finds a thing in several requests counts once.
        self._found += {
            each.key: each for each in (Found(**found) for found in values.get(_FOUND, ()))
        }.values()
        if report.passed and report.when == "call":
            self._passed[report.nodeid] = values.get(_WATCHED, [])

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Learn from a worker what it alone knows: only workers collect."""
        self._narrowed |= getattr(node, "workeroutput", {}).get(_NARROWED, True)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write what was accepted, and look for entries that no longer occur."""
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput[_NARROWED] = self._narrowed
            return
        self._narrowed |= bool(session.shouldstop or session.shouldfail)
        known = self._watch.known
        now = {each.key: each for each in self._found}
        gone = [entry for entry in known.entries if entry.key not in now and self._is_gone(entry)]
        file = known.file.relative_to(self._root) if known.file.is_relative_to(self._root) else known.file
        if known.accepts:
            self._said = [self._accepted(gone, str(file))]
        else:
            count = sum(each.outcome == "known" for each in now.values())
            self._said = [f"{_number(count, 'known finding')} ({file})"] if count else []
            if gone:
                self._said.append(
                    f"{_number(len(gone), 'known finding')} no longer there. Remove from {file}, "
                    "or run pytest --greenroom-accept-findings:"
                )
                self._said += [f"  {_described(entry)}" for entry in gone[:_LISTED]]
                self._said += [f"  and {len(gone) - _LISTED} more"] if len(gone) > _LISTED else []

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Say so; on GitHub, at the lines of the pull request as well."""
        for line in self._said:
            terminalreporter.write_line(line if line.startswith(" ") else f"greenroom: {line}")
        if wanted():
            for line in commands(self.found, self._root):
                terminalreporter.write_line(line)

    def _accepted(self, gone: list[Found], file: str) -> str:
        """Write all findings but those that are gone. Returns what is to be said."""
        known = self._watch.known
        kept = {entry.key: entry for entry in known.entries if entry not in gone}
        for found in sorted(self._found, key=lambda each: each.test):
            before = kept.get(found.key)
            # Which test it is does not change as long as it is found there.
            stays = before is not None and (
                before.test not in self._ran
                or any(each.key == found.key and each.test == before.test for each in self._found)
            )
            if not stays:
                kept[found.key] = dataclasses.replace(found, test=found.test)
        if not kept and not known.entries:
            hint = ' Set n_plus_one = "fail" or lazy_loads = "fail" in [tool.greenroom].' if self._off else ""
            return f"nothing was found, so there is nothing to accept.{hint}"
        new = len(kept.keys() - {entry.key for entry in known.entries})
        try:
            known.write(kept.values())
        except OSError as error:
            return f"{file} cannot be written: {error.strerror}"
        removed = f", {len(gone)} removed" if gone else ""
        return f"accepted {_number(len(kept), 'finding')} ({new} new{removed}): {file}"

    def _is_gone(self, entry: Found) -> bool:
        """Whether an entry that did not occur would have occurred in this run."""
        if entry.test in self._passed:
            return entry.kind in self._passed[entry.test]
        file = entry.test.partition("::")[0]
        if not (self._root / file).exists():
            return True
        # Its file has run, and it has not: it has another name now, or none.
        return (
            not self._narrowed
            and entry.test not in self._ran
            and any(test.partition("::")[0] == file for test in self._ran)
        )


def _number(count: int, name: str) -> str:
    return f"{count} {name}{'' if count == 1 else 's'}"


def _described(entry: Found) -> str:
    where = f"{entry.file}, {entry.function}(): {entry.line}" if entry.file else entry.attribute
    attribute = f" ({entry.attribute})" if entry.file and entry.attribute else ""
    return f"{entry.kind}: {where}{attribute}"
