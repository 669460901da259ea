"""The choices of a run's managing process, passed to its workers in an environment variable."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Final, Self

VARIABLE: Final = "GREENROOM_RUN"


@dataclasses.dataclass(frozen=True)
class Handover:
    """A run's choices.

    Attributes:
        root: The project.
        process: The managing process.
        kind: The kind of server.
        handle: What a worker needs to join the server.
        run: A short token of the run.
        why: Why that kind of server was chosen.
    """

    root: str
    process: int
    kind: str
    handle: str
    run: str
    why: str

    @classmethod
    def received(cls, root: Path) -> Self | None:
        """Return the choices that this process was given, or None unless it is a worker of a run of this project.

        Not so a pytest that a test starts, which finds the same environment: its parent is the worker.
        """
        if "PYTEST_XDIST_WORKER" not in os.environ or VARIABLE not in os.environ:
            return None
        told = cls(**json.loads(os.environ[VARIABLE]))
        return told if told.process == os.getppid() and told.root == str(root) else None

    def variables(self) -> dict[str, str]:
        """The environment that tells it."""
        return {VARIABLE: json.dumps(dataclasses.asdict(self))}
