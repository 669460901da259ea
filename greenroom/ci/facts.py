"""run.json: what is known of a run that neither JUnit's XML nor coverage's has a place for."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Final, Self

from greenroom.ci.errors import ReportsError

FILE: Final = "run.json"

REPORTS: Final = "GREENROOM_REPORTS"
"""The environment variable by which pytest, and in it the plugin, learns the folder to write to."""

INSIDE: Final = "GREENROOM_INSIDE"
"""The environment variable that names the engine in whose stack this process runs: to it, the server is just one there."""


@dataclasses.dataclass(frozen=True)
class Facts:
    """The facts of one run.

    Attributes:
        engine: Where Postgres came from, and why, if pytest has come to that.
        fail_under: The percentage that the coverage had to reach, if it was measured and there is one.
        exit_code: pytest's.
    """

    engine: str | None = None
    fail_under: float | None = None
    exit_code: int | None = None

    def save(self, folder: Path) -> None:
        """Write them to `folder`."""
        (folder / FILE).write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read them from `folder`.

        Raises:
            ReportsError: The file is missing or broken.
        """
        try:
            values = json.loads((folder / FILE).read_text())
            return cls(**values)
        except FileNotFoundError:
            raise ReportsError(f"There is no {FILE} in {folder}.") from None
        except (OSError, ValueError, TypeError) as error:
            raise ReportsError(f"{folder / FILE} cannot be read: {error}.") from None
