"""Every error greenroom raises on purpose.

    GreenroomError
     ├── ConfigError        [tool.greenroom] lacks a setting, or has a wrong one
     ├── VersionError       a package is older than greenroom needs it
     ├── ServerError        no Postgres could be started or reached
     │    └── UnavailableError  this kind of server is not available here
     ├── RefusedError       it would have touched something that greenroom did not make
     ├── TemplateError      the schema could not be built
     ├── AppError           the application does not import, or does not start up
     ├── HangError          a wait has reached its limit
     ├── ReportsError       reports cannot be written, or existing ones cannot be used
     └── RewindError        the database could not be brought back to the template's state
          └── LeftoverError a test left a transaction open; that test fails

A message says what is wrong, the rule, and the actual value; `hint` says what helps, as a command where there is one.
"""

from __future__ import annotations


class GreenroomError(Exception):
    """Something is wrong that the user can fix.

    Args:
        message: What is wrong, the rule, and the actual value. Never contains a password.
        hint: What helps, one line, preferably a command.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  → {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[object, ...]:
        # `hint` is keyword-only, which pickling (pytest-xdist, multiprocessing) would otherwise lose.
        return _rebuild, (type(self), self.message, self.hint)


def _rebuild(kind: type[GreenroomError], message: str, hint: str | None) -> GreenroomError:
    return kind(message, hint=hint)


class ConfigError(GreenroomError):
    """`[tool.greenroom]` lacks a setting, or has a wrong one."""


class VersionError(GreenroomError):
    """A package is older than greenroom needs it."""


class ServerError(GreenroomError):
    """No Postgres could be started or reached."""


class UnavailableError(ServerError):
    """This kind of server is not available here, at least for now."""


class RefusedError(GreenroomError):
    """Greenroom would have touched something that it did not make."""


class TemplateError(GreenroomError):
    """The schema could not be built."""


class AppError(GreenroomError):
    """The application does not import, or does not start up."""


class HangError(GreenroomError):
    """A wait has reached its limit: something takes too long, swallows its cancellation, or its thread has ended."""


class ReportsError(GreenroomError):
    """Reports cannot be written, or existing ones cannot be used."""


class RewindError(GreenroomError):
    """The database could not be brought back to the template's state."""


class LeftoverError(RewindError):
    """A test left a transaction open, so that it, and not the next one, fails.

    Attributes:
        beyond: The test has also changed what a rewind cannot undo, so the database must be cloned afresh.
    """

    beyond: bool = False
