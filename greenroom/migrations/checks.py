"""The checks, and what they need: a database that is migrated, and the process that Alembic runs in."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Final

from greenroom.errors import ConfigError, TemplateError
from greenroom.migrations import round_trip, survival
from greenroom.migrations.process import MigrationError, Process
from greenroom.migrations.results import Result, counted, named
from greenroom.migrations.states import States

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from greenroom.config import Config
    from greenroom.migrations.history import History
    from greenroom.migrations.snapshot import Snapshot
    from greenroom.output import Say
    from greenroom.servers import Server

WHOLE: Final = ("one_head", "up_from_nothing", "models_agree")
"""The checks of the history as a whole."""

EACH: Final = ("data_survives", "up_down_up")
"""The checks of each revision."""


def names(config: Config, history: History) -> Iterator[tuple[str, str | None]]:
    """The checks of a project, each with its revision, in the order in which they are quickest.

    Args:
        config: The project; `migration_since` and `migration_skip` leave some out.
        history: Its revisions.

    Raises:
        ConfigError: One of the two names what is not there.
    """
    found: list[tuple[str, str | None]] = [(check, None) for check in WHOLE]
    found += [(check, revision) for revision in history.after(config.migration_since) for check in EACH]
    skipped = set(config.migration_skip)
    known = {*WHOLE, *EACH, *history.revisions, *(named(*each) for each in found)}
    if unknown := sorted(skipped - known):
        raise ConfigError(
            f"[tool.greenroom] migration_skip names {', '.join(map(repr, unknown))}, which is no check and no revision. "
            f"The checks are: {', '.join((*WHOLE, *EACH))}.",
            hint='name a check, a revision, or one check of one revision: "data_survives[a1b2]"',
        )
    return iter([each for each in found if not {*each, named(*each)} & skipped])


class Checks:
    """Runs the checks of a project. Nothing is started before the first one. Closed with `close`.

    Args:
        config: The project.
        server: The server, which is started if it does not run.
        say: Takes progress.

    Raises:
        ConfigError: The project has no Alembic.
    """

    def __init__(self, config: Config, server: Server, say: Say) -> None:
        if config.alembic is None:
            raise ConfigError(
                "The migrations are tested with Alembic, and [tool.greenroom] names no configuration of it.",
                hint='add a line such as: alembic = "alembic.ini"',
            )
        self._config = config
        self._server = server
        self._say = say
        self._opened: tuple[States, Process] | None = None
        self._history: tuple[History, list[str]] | None = None
        self._schema: tuple[frozenset[str] | None, Snapshot] = None, {}
        self._said: str | None = None

    @property
    def history(self) -> History:
        """The revisions, as Alembic has them.

        Raises:
            TemplateError: Alembic cannot read them.
        """
        return self._read()[0]

    def run(self, check: str, revision: str | None = None) -> Result:
        """Run one check.

        Args:
            check: One of `WHOLE` or `EACH`.
            revision: The revision, for one of `EACH`.

        Raises:
            GreenroomError: It could not be run.
        """
        start = time.perf_counter()
        try:
            result: Result = getattr(self, f"_{check}")(*([] if revision is None else [revision]))
        except MigrationError as error:
            if error.at is None and error.said == self._said:
                result = Result(check="", outcome="skipped", said="env.py fails, as another check says.")
            else:
                said = f"{error.at} failed.\n{error.said}" if error.at else error.said
                result = Result(check="", outcome="failed", said=said)
                self._said = error.said
        except TemplateError:
            self.close()  # the process has ended; the next check gets another one
            raise
        return dataclasses.replace(
            result, check=check, revision=revision, seconds=round(time.perf_counter() - start, 4)
        )

    def close(self) -> None:
        """End the process and drop the databases."""
        if self._opened is not None:
            states, process = self._opened
            self._opened = None
            process.close()
            states.close()

    # -- the checks --------------------------------------------------------------------------------------------------

    def _one_head(self) -> Result:
        heads = self._read()[1]
        if len(heads) <= 1:
            return _ok(f"the head is {', '.join(heads) or 'nothing: there are no revisions'}")
        return Result(
            check="", outcome="failed",
            said=f"There are {len(heads)} heads: {', '.join(heads)}. `alembic upgrade head` takes one only.",
            hint=f"alembic merge {' '.join(heads)}",
        )  # fmt: skip

    def _up_from_nothing(self) -> Result:
        states, process = self._open()
        states.open(frozenset())
        everything = self.history.ancestors(self.history.revisions)
        if everything:
            self._apply(self.history.ordered(everything))
            with states.connection() as connection:
                row = connection.execute(
                    "SELECT FROM pg_class WHERE relname = %s", [process.version_table[1]]
                ).fetchone()
            if row is None:
                return Result(
                    check="", outcome="failed",
                    said="Nothing is there afterwards, not even Alembic's own table: env.py has not committed.",
                    hint="run the migrations in `with context.begin_transaction():`, or commit the connection after them",
                )  # fmt: skip
            states.keep(everything)
        return _ok(counted(len(everything), "revision"))

    def _models_agree(self) -> Result:
        _, process = self._open()
        self._reach(self.history.ancestors(self.history.revisions))
        lines, none = process.compare()
        if none is not None:
            return Result(check="", outcome="skipped", said=f"There is nothing to compare with: {none}.")
        if not lines:
            return _ok("")
        listed = "\n".join(f"  {line}" for line in lines)
        return Result(
            check="", outcome="failed",
            said=f"The models and the migrations differ:\n{listed}",
            hint='alembic revision --autogenerate -m "…", and read what it has written',
        )  # fmt: skip

    def _up_down_up(self, revision: str) -> Result:
        states, process = self._open()
        before = self.history.before(revision)
        if (result := self._reachable(before)) is not None:
            return result
        known, schema = self._schema
        found = self.history.revisions[revision]
        result, applied = round_trip.check(
            self._config, states, process, found, schema if known == before else None
        )
        if applied is not None:
            after = before | {revision}
            states.keep(after)
            self._schema = after, applied
        return result

    def _data_survives(self, revision: str) -> Result:
        states, process = self._open()
        before = self.history.before(revision)
        if (result := self._reachable(before)) is not None:
            return result
        return survival.check(self._config, states, process, revision, applied=before)

    # -- what they need ----------------------------------------------------------------------------------------------

    def _open(self) -> tuple[States, Process]:
        if self._opened is None:
            if not self._server.running():
                self._server.start(self._say)
            states = States(self._config, self._server)
            self._opened = states, Process(self._config, states.url, states.application)
        return self._opened

    def _read(self) -> tuple[History, list[str]]:
        if self._history is None:
            try:
                self._history = self._open()[1].history()
            except MigrationError as error:
                raise TemplateError(
                    f"Alembic cannot read the revisions.\n{error.said}", hint="alembic history"
                ) from None
        return self._history

    def _reach(self, wanted: frozenset[str]) -> None:
        """Make a database in which these revisions are applied."""
        states, _ = self._open()
        missing = wanted - states.open(wanted)
        if missing:
            self._apply(self.history.ordered(missing))
            states.keep(wanted)
            states.open(wanted)

    def _reachable(self, wanted: frozenset[str]) -> Result | None:
        """Make such a database. If that is not possible, the result that says so."""
        try:
            self._reach(wanted)
        except MigrationError as error:
            return Result(
                check="", outcome="skipped",
                said=f"The state before it cannot be reached, since {error.at or 'env.py'} fails.",
            )  # fmt: skip
        return None

    def _apply(self, revisions: Iterable[str]) -> None:
        _, process = self._open()
        process.run([(name, True) for name in revisions])


def _ok(said: str) -> Result:
    return Result(check="", said=said)
