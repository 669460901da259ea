"""What the watch says when it finds something, as errors, so that the test at fault fails."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from greenroom.errors import GreenroomError


class Finding(GreenroomError):
    """Something that the watch stops where it happens, and that fails the test wherever that is."""


class ForeignLoopError(Finding):
    """A pooled connection was asked for on another event loop than it was made on."""


class LazyLoadError(Finding):
    """The application read an attribute that was not loaded, and `lazy_loads = "fail"` forbids that."""


class RepeatedQueriesWarning(UserWarning):
    """One request sent the same query again and again, and `n_plus_one = "warn"` says so."""


def told(what: str, why: str, fixes: Iterable[tuple[str, str]], link: str) -> str:
    """A message in several paragraphs: what happened, why that is wrong, what helps as code, and where to read on."""
    numbered = [
        f"fix {number}: {words}\n{textwrap.indent(code, '    ')}"
        for number, (words, code) in enumerate(fixes, start=1)
    ]
    from greenroom.explain.explanation import more

    return "\n\n".join([what, textwrap.fill(why, 100), *numbered, f"more: {more(link)}"])
