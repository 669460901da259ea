"""Try candidates in the project's own interpreter, one after the other, and mend what their errors name."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final

from greenroom.config import TRIED, TRIED_ROOT
from greenroom.init import surroundings
from greenroom.init.attempt import last_line
from greenroom.init.proposal import DRIVERS, Proposal
from greenroom.init.section import table
from greenroom.init.settings import BEFORE, Settings
from greenroom.init.variables import Variable
from greenroom.output import Say
from greenroom.processes import captured

ATTEMPTS: Final = 16
"""How many times something is tried."""

_SECONDS: Final = 300
"""Seconds for one attempt: for its server, the schema and the application."""

_STAGES: Final = ("server", "schema", "startup", "engine", "done")


@dataclasses.dataclass
class Outcome:
    """What trying has shown.

    Attributes:
        settings: Those that got furthest.
        found: What the last attempt with them printed.
        attempts: How many there were.
    """

    settings: Settings
    found: dict[str, Any]
    attempts: int

    @property
    def works(self) -> bool:
        """The schema was built, the application started up, and no engine leads elsewhere only."""
        return bool(self.found.get("stage") == "done")


def run(proposal: Proposal, python: Path, say: Say) -> Outcome:
    """Try the candidates, until one works.

    Args:
        proposal: What was found.
        python: The project's interpreter, with greenroom.
        say: Takes progress.
    """
    way, source, attempts = 0, 0, 0
    settings = proposal.candidate(way, source)
    best: Outcome | None = None
    tried: list[dict[str, Any]] = []
    again = False
    while settings is not None and attempts < ATTEMPTS:
        attempts += 1
        tried.append(settings.table)
        found = attempt(proposal.root, settings, python)
        outcome = Outcome(settings, found, attempts)
        # What was mended counts as further; another candidate only where it got further.
        if best is None or _further(found, best.found) >= (0 if again else 1):
            best = outcome
        best.attempts = attempts
        if outcome.works or found["stage"] == "server":
            break
        mended = mend(proposal, settings, found)
        if mended is not None and (mended.table not in tried or mended.schemas != settings.schemas):
            say(f"tried: {_line(found)}; next: {_difference(settings, mended)}")
            settings, again = mended, True
            continue
        again = False
        # Another way of telling the database where it was not this one; another source where the schema was not built.
        if _elsewhere(found) or found["stage"] != "schema":
            way, source = way + 1, 0
        else:
            source += 1
        settings = proposal.candidate(way, source)
        if settings is None and source:
            way, source = way + 1, 0
            settings = proposal.candidate(way, source)
        if settings is not None:
            say(f"tried: {_line(found)}; next: {_difference(outcome.settings, settings)}")
    assert best is not None
    return best


def _further(found: dict[str, Any], before: dict[str, Any]) -> int:
    return _STAGES.index(found["stage"]) - _STAGES.index(before["stage"])


def attempt(root: Path, settings: Settings, python: Path) -> dict[str, Any]:
    """Try settings once. Returns what `greenroom.init.attempt` prints."""
    with tempfile.TemporaryDirectory() as folder:
        file, before = Path(folder, "tried.toml"), Path(folder, BEFORE)
        if settings.schemas:
            before.write_text(settings.before, encoding="utf-8")
            named = [str(before) if each == BEFORE else each for each in settings.table["before"]]
            settings = settings.changed("before", named, "")
        file.write_text(table(settings), encoding="utf-8")
        environ = {name: value for name, value in os.environ.items() if name != "PYTHONHOME"}
        environ |= {TRIED: str(file), TRIED_ROOT: str(root)}
        try:
            done = captured(
                [str(python), "-m", "greenroom.init.attempt", str(root)], environ, cwd=root, seconds=_SECONDS
            )
        except subprocess.TimeoutExpired:
            return {"stage": "server", "error": f"It was not done within {_SECONDS} s."}
    return last_line(done)


def _line(found: dict[str, Any]) -> str:
    """The line of what went wrong that names the error."""
    lines: list[str] = [line.strip() for line in found.get("error", "").splitlines() if line.strip()]
    if found["stage"] == "engine":
        return f"its engine leads to {found['elsewhere'][0]}"
    named = [
        line for line in lines if re.match(r"[\w.]*(Error|Exception|Refused|NotSupported|Missing)\b", line)
    ]
    if named:
        return named[-1][:160]
    return next((line for line in lines if not line.startswith("→")), str(found["stage"]))[:160]


def _elsewhere(found: dict[str, Any]) -> bool:
    return (
        found["stage"] == "engine"
        or bool(found.get("refused"))
        or "was about to connect to" in found.get("error", "")
    )


def _difference(before: Settings, after: Settings) -> str:
    changed = [name for name in after.why if after.why[name] != before.why.get(name)]
    changed += [f"CREATE SCHEMA {name}" for name in after.schemas if name not in before.schemas]
    return ", ".join(changed) or "without " + ", ".join(name for name in before.why if name not in after.why)


def mend(proposal: Proposal, settings: Settings, found: dict[str, Any]) -> Settings | None:
    """The settings with what an error asks for, or None if it names nothing that a setting could give."""
    error = found.get("error", "")
    if _elsewhere(found) and settings.today:
        # One of them may choose a file that says another URL.
        return settings.without(settings.today)
    missing = _missing(error, proposal.variables)
    if missing:
        # What the repository does not read itself, a package reads: then the environment of today's tests knows its name.
        values = {each.name: proposal.values.for_tests(each) for each in missing if each.where}
        if len(values) < len(missing):
            values |= proposal.values.environment()
        have = {settings.table.get("database_url", "DATABASE_URL"), *settings.table.get("environment", {})}
        have |= set(settings.table.get("environment_defaults", {}))
        mended = settings
        for name, value in values.items():
            if name not in have:
                mended = mended.changed(f"environment_defaults.{name}", value.value, value.where)
        if mended is not settings:
            return mended
    for pattern, setting in (
        (r'permission denied to create extension "([^"]+)"', "extensions"),
        (r'role "([^"]+)" does not exist', "roles"),
    ):
        named = re.findall(pattern, error)
        have = settings.table.get(setting, [])
        if named and named[0] not in have:
            return settings.changed(setting, [*have, named[0]], "the migrations ask for it")
    if schema := re.search(r'schema "([^"]+)" does not exist', error):
        path = proposal.before(schema[1])
        have = settings.table.get("before", [])
        if path is not None and path not in have:
            return settings.changed("before", [*have, path], f"makes the schema {schema[1]}")
        if path is None and schema[1] not in settings.schemas:
            changed = settings.changed(
                "before",
                [*(each for each in have if each != BEFORE), BEFORE],
                "makes the schemas that it needs",
            )
            return dataclasses.replace(changed, schemas=(*settings.schemas, schema[1]))
    return _another_driver(settings, error) or _switched_off(proposal, settings, error)


def _missing(error: str, known: list[Variable]) -> list[Variable]:
    """The variables that an error says are missing: pydantic's fields, and keys of the environment."""
    names = re.findall(r"^\s*([\w.]+)\n\s+Field required", error, re.MULTILINE)
    names += re.findall(r"KeyError: '([A-Z][A-Z0-9_]*)'", error)
    names += re.findall(
        r"(?:Environment variable|Config) ['\"](\w+)['\"] (?:not set|is missing)|(\w+) not found\. Declare it",
        error,
    )
    found = []
    for each in names:
        name = (each if isinstance(each, str) else "".join(each)).upper().replace(".", "__")
        match = [
            each for each in known if each.name.upper() == name or each.name.upper().endswith(f"_{name}")
        ]
        found.append(match[0] if match else Variable(name, "", None, required=True, where=""))
    return found


def _another_driver(settings: Settings, error: str) -> Settings | None:
    driver = settings.table.get("driver", "postgresql+asyncpg")
    wanted: str | None = None
    if "requires an async driver" in error:
        wanted = "postgresql+asyncpg" if driver != "postgresql+asyncpg" else "postgresql+psycopg"
    elif "greenlet_spawn has not been called" in error and driver.endswith("+asyncpg"):
        wanted = "postgresql+psycopg"
    elif missing := re.search(r"No module named '(psycopg2|psycopg|asyncpg|pg8000)'", error):
        others = [each for each in DRIVERS if each != missing[1]]
        wanted = DRIVERS[others[0]] if DRIVERS[others[0]] != driver else DRIVERS[others[1]]
    elif "URL scheme should be" in error or re.search(
        r"invalid.*(scheme|dsn|connection option|URI)", error, re.IGNORECASE
    ):
        wanted = "postgresql" if driver != "postgresql" else None
    if wanted is None or wanted == driver:
        return None
    return settings.changed("driver", wanted, "the driver that it uses")


def _switched_off(proposal: Proposal, settings: Settings, error: str) -> Settings | None:
    """Switch a service off that the application cannot reach while it starts up, if its settings have a switch."""
    if not re.search(
        r"refused|resolve|gaierror|Name or service not known|getaddrinfo|Connect|Timeout|NoBrokers", error
    ):
        return None
    for service, switch in surroundings.services(
        proposal.repository, proposal.root, proposal.variables
    ).items():
        if switch and switch not in settings.table.get("environment", {}):
            return settings.changed(
                f"environment_defaults.{switch}", "false", f"{service} is not there when tests run"
            )
    return None
