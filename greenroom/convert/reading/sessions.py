"""Sessions: `async with factory() as session` becomes `with Session(engine) as session`, if the application's factory makes it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import libcst as cst

from greenroom.convert.reading.modules import Module

_MADE = r"(?m)^{name}\s*(?::[^=\n]+)?=\s*(?:[\w.]+\.)?(?:async_)?sessionmaker\b(?P<arguments>[^\n]*(?:\n[ \t)].*)*)"


@dataclass(frozen=True)
class Opening:
    """Where a session of the application's own database is opened.

    Attributes:
        keeps: Its objects keep their values after a commit.
    """

    keeps: bool

    def call(self) -> cst.Call:
        """The call that opens a synchronous one."""
        options = ", expire_on_commit=False" if self.keeps else ""
        made = cst.parse_expression(f"Session(engine{options})")
        assert isinstance(made, cst.Call)
        return made


class Factories:
    """Tells which names are the application's own factories of sessions, from the application's sources.

    Args:
        root: The project's folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: dict[str, Opening | None] = {}

    def opening(self, call: cst.Call, module: Module) -> Opening | None:
        """What a call opens, if it is one of such a factory, without arguments."""
        qualified = module.qualified(call.func)
        if not qualified or call.args:
            return None
        if qualified not in self._known:
            self._known[qualified] = self._look(qualified)
        return self._known[qualified]

    def _look(self, qualified: str) -> Opening | None:
        dotted, _, name = qualified.rpartition(".")
        path = dotted.replace(".", "/")
        for folder in (self._root, self._root / "src"):
            for file in (folder / f"{path}.py", folder / path / "__init__.py"):
                if not dotted or not file.is_file():
                    continue
                found = re.search(
                    _MADE.format(name=re.escape(name)), file.read_text(encoding="utf-8", errors="replace")
                )
                if found is not None:
                    arguments = found["arguments"]
                    if "AsyncSession" in arguments or "async_sessionmaker" in found[0]:
                        return Opening(keeps=bool(re.search(r"expire_on_commit\s*=\s*False", arguments)))
        return None
