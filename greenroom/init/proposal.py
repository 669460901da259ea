"""What reading a repository leads to: candidates for its settings, what speaks for each, and what else there is to know."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any, Final

from greenroom.database import elsewhere
from greenroom.docker.images import TEST_FILE
from greenroom.errors import ConfigError
from greenroom.init import surroundings
from greenroom.init.applications import Application, applications
from greenroom.init.databases import Told, told
from greenroom.init.packages import Packages, packages
from greenroom.init.repository import Repository
from greenroom.init.settings import Settings
from greenroom.init.sources import Source, before, extensions, other_tools, roles, sources
from greenroom.init.values import Values
from greenroom.init.variables import Variable, variables

DRIVERS: Final = {
    "asyncpg": "postgresql+asyncpg",
    "psycopg": "postgresql+psycopg",
    "psycopg2": "postgresql+psycopg2",
    "pg8000": "postgresql+pg8000",
}
"""A package, and the scheme of URLs for it."""


@dataclasses.dataclass
class Proposal:
    """What was found.

    Attributes:
        repository: The files.
        root: The project's folder.
        application: The application that was chosen.
        others: The other applications.
        told: How it is told its database.
        sources: Where its schema may come from.
        variables: What it reads of the environment.
        values: Values that the repository names for variables.
        packages: How it gets its packages.
        notes: What else there is to know, a line each.
    """

    repository: Repository
    root: Path
    application: Application
    others: list[Application]
    told: list[Told]
    sources: list[Source]
    variables: list[Variable]
    values: Values
    packages: Packages
    notes: list[str]

    def candidate(self, way: int, source: int) -> Settings | None:
        """The settings with one way of telling the database and one source of the schema; None if there is none."""
        if way >= max(1, len(self.told)) or source >= len(self.sources):
            return None
        table: dict[str, Any] = {"app": self.application.target}
        why = {
            "app": " ".join(
                filter(None, [self.application.where, self.application.why and f"({self.application.why})"])
            )
        }
        chosen = self.told[way] if self.told else Told("DATABASE_URL", None, {}, {})
        if chosen.url not in (None, "DATABASE_URL"):
            table["database_url"] = chosen.url
            why["database_url"] = chosen.why[str(chosen.url)]
        driver = chosen.driver or self._driver()
        if driver != "postgresql+asyncpg":
            table["driver"] = driver
            why["driver"] = "as its URLs are written" if chosen.driver else "the driver that it uses"
        table |= self.sources[source].settings
        why |= dict.fromkeys(self.sources[source].settings, self.sources[source].why)
        for name, place in self._extensions().items():
            table.setdefault("extensions", []).append(name)
            why["extensions"] = f"asked for by {place}"
        if picture := self._image():
            table["image"] = picture
            why["image"] = "has the extensions, which no PostgreSQL of this machine has"
        if named := self._roles():
            table["roles"] = list(named)
            why["roles"] = f"named by {next(iter(named.values()))}"
        if found := surroundings.async_tests(self.repository, self.root):
            table["async_tests"] = True
            why["async_tests"] = found
        if chosen.environment:
            table["environment"] = dict(chosen.environment)
            why |= {f"environment.{name}": place for name, place in chosen.why.items()}
        defaults = {
            variable.name: self.values.for_tests(variable)
            for variable in self.variables
            if self._wanted(variable)
            and variable.name not in {chosen.url, *chosen.environment, *chosen.second}
        }
        read = {variable.name for variable in self.variables}
        more = {
            name: value
            for name, value in self.values.today(read).items()
            if name not in {chosen.url, *chosen.environment, *defaults}
        }
        defaults |= more
        if defaults:
            table["environment_defaults"] = {name: value.value for name, value in defaults.items()}
            why |= {f"environment_defaults.{name}": value.where for name, value in defaults.items()}
        return Settings(table, why, tuple(more))

    def _wanted(self, variable: Variable) -> bool:
        return (
            variable.required
            and not variable.tested
            and variable.where.startswith(self._prefix())
            and not self.values.tracked_dotenv(variable.name, self.root)
        )

    def _prefix(self) -> str:
        inside = self.root.relative_to(self.repository.root).as_posix()
        return "" if inside == "." else f"{inside}/"

    def _driver(self) -> str:
        """The driver that the source names, or else the one that is imported or declared."""
        texts = [
            self.repository.text(each.path)
            for each in self.repository.modules
            if each.path.is_relative_to(self.root)
        ]
        joined = "\n".join(texts)
        if found := re.search(r"postgresql\+(\w+)", joined):
            return found[0]
        declared = self.repository.text(self.root / "pyproject.toml") + "".join(
            self.repository.text(path) for path in self.root.glob("*requirements*.txt")
        )
        asynchronous = "create_async_engine" in joined
        order = ("asyncpg", "psycopg") if asynchronous else ("psycopg2", "psycopg", "pg8000", "asyncpg")
        package = next((each for each in order if re.search(rf"\b{each}\b", declared)), order[0])
        return DRIVERS[package]

    def _extensions(self) -> dict[str, str]:
        return extensions(self.repository, self.root)

    def _image(self) -> str:
        """An image with the extensions that the machine lacks, if the project has a test stack; empty if none is needed."""
        names = [each.rpartition(".")[2] for each in self._extensions()]
        if not names or not (self.root / TEST_FILE).is_file():
            return ""
        return next(filter(None, (elsewhere.image(each) for each in elsewhere.lacking(names))), "")

    def _roles(self) -> dict[str, str]:
        asked = roles(self.repository, self.root)
        migrated = self.sources[0].settings.get("alembic") if self.sources else None
        return (
            {}
            if not migrated
            else {name: where for name, where in asked.items() if where.endswith(".py") and name.islower()}
        )

    def before(self, schema: str) -> str | None:
        """The SQL file that makes a schema by hand."""
        return before(self.repository, self.root, schema)


def read(start: Path, *, app: str | None = None, more: tuple[str, ...] = ()) -> Proposal:
    """Read a repository.

    Args:
        start: A folder: the checkout, or a project in it.
        app: The application, if it is known already.
        more: Extras of greenroom that it needs besides those that can be read from it.

    Raises:
        ConfigError: It has no ASGI application, or nothing that says where a schema comes from.
    """
    repository = Repository(checkout(start))
    found = [
        each
        for each in applications(repository)
        if each.project.is_relative_to(start) or start.is_relative_to(each.project)
    ]
    if app is not None:
        found.sort(key=lambda each: each.target != app)
        if not found or found[0].target != app:
            raise ConfigError(
                f"There is no application {app!r} in {start}.",
                hint="greenroom init --dry-run lists those that are there",
            )
    if not found:
        raise ConfigError(
            f"No ASGI application was found in {start}: a FastAPI(…), Starlette(…), Litestar(…), or a function that returns one.",
            hint='write [tool.greenroom] app = "package.module:name" by hand (docs/configuration.md)',
        )
    chosen = found[0]
    root = chosen.project
    every = variables(repository)
    values = Values(repository, root)
    ways = told(every, values)
    origins = sources(repository, root, chosen.target)
    if not origins:
        raise ConfigError(
            f"Nothing in {root} says where the schema comes from: no Alembic with a revision, no metadata, no SQL that makes tables.",
            hint="name it in [tool.greenroom]: alembic, metadata, sql, schema_command or schema_at_startup (docs/configuration.md)",
        )
    notes = _notes(repository, root, every, ways, found)
    asked = {each.rpartition(".")[2] for each in extensions(repository, root)}
    extras = (*more, "embedded", *(("extensions",) if asked & elsewhere.IN_WHEEL else ()))
    return Proposal(
        repository,
        root,
        chosen,
        found[1:],
        ways,
        origins,
        every,
        values,
        packages(repository, root, extras),
        notes,
    )


def checkout(start: Path) -> Path:
    """The checkout that a folder is in: CI's workflows and a `.env` may be above the project."""
    return next((folder for folder in (start, *start.parents) if (folder / ".git").exists()), start)


def _notes(
    repository: Repository, root: Path, every: list[Variable], ways: list[Told], found: list[Application]
) -> list[str]:
    notes = []
    if today := surroundings.tests_today(repository, root):
        notes.append(f"the tests get their database today from: {', '.join(today)}")
    if own := surroundings.own_fixtures(repository, root):
        named = ", ".join(f"{name} ({where})" for name, where in own.items())
        notes.append(
            f"the tests have fixtures of their own with names of greenroom's, and go on using them: {named}. A folder of new "
            f"tests gets greenroom's with a line in its conftest.py: from greenroom.plugin.fixtures import {', '.join(own)}"
        )
    if surroundings.loses_lines(repository, root) and any(
        "create_async_engine" in repository.text(each.path) for each in repository.modules
    ):
        notes.append(
            'coverage loses lines after an awaited query; add to [tool.coverage.run]: plugins = ["greenroom.coverage"]'
        )
    for service, switch in surroundings.services(repository, root, every).items():
        notes.append(f"it also uses {service}" + (f"; {switch} switches it off" if switch else ""))
    if ways:
        for name, where in ways[0].second.items():
            notes.append(
                f"{name} ({where}) may be a second database; if it is: [tool.greenroom.databases.NAME]"
            )
        names = {ways[0].url or "", *ways[0].environment}
        notes += [
            f"{line} over what greenroom sets" for line in surroundings.assigned(repository, root, names)
        ]
    else:
        notes.append("no variable was found that tells it its database; DATABASE_URL was taken")
    if tools := other_tools(repository):
        notes.append(f"migrations by {', '.join(tools)}: schema_command runs its command")
    if len(found) > 1 and found[1].score >= found[0].score - 2:
        notes.append(
            f"there is another application, {found[1].target} ({found[1].where}): greenroom init --app {found[1].target}"
        )
    if repository.unparsed:
        unread = ", ".join(repository.shown(path) for path in repository.unparsed[:3])
        notes.append(
            f"this Python cannot parse {len(repository.unparsed)} files ({unread}), which were not read"
        )
    return notes
