"""The register of what is known: each function that explains an error says which."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from greenroom.diagnosis.explanation import Explanation
from greenroom.explain.failure import Failure

Explain = Callable[[Failure], Explanation | None]
"""Explains one exception of a chain. Returns None unless it is certain."""


@dataclass(frozen=True)
class Recogniser:
    """A function that explains an error, and what that error is; see `recogniser`."""

    explain: Explain
    kinds: tuple[str, ...]
    says: re.Pattern[str]
    section: str
    sqlalchemy: bool
    consequence: bool
    says_where: bool

    def __call__(self, failure: Failure) -> Explanation | None:
        """Explain an exception, if it is the one. What the function leaves out is added: the section, and the line."""
        said = self.says.search(failure.message) if failure.of(*self.kinds) else None
        if said is None or (self.sqlalchemy and not failure.in_sqlalchemy):
            return None
        explanation = self.explain(replace(failure, said=said))
        if explanation is None:
            return None
        where = explanation.where if self.says_where else failure.where
        what = explanation.what[:1].upper() + explanation.what[1:]
        return replace(
            explanation,
            what=what,
            section=explanation.section or self.section,
            where=where,
            follows=explanation.follows or self.consequence,
        )


RECOGNISERS: Final[list[Recogniser]] = []


def recogniser(
    *kinds: str,
    section: str,
    says: str | re.Pattern[str] = "",
    sqlalchemy: bool = False,
    consequence: bool = False,
    says_where: bool = False,
) -> Callable[[Explain], Explain]:
    """Register a function that explains an error.

    No two of them know the same error, so it does not matter which is asked first, but for consequences.

    Args:
        kinds: The exception's classes, one of which it must be of: full names, built-in ones without a module.
        section: The section of docs/faq.md that quotes the error.
        says: What its text says somewhere. The function finds the match in `failure.said`.
        sqlalchemy: SQLAlchemy must have raised it or passed it on.
        consequence: It follows, as a rule, from another error of the chain, and is explained only if none of those is known.
        says_where: The function says at which line it is, or that this is not known. By default it is the failure's.
    """
    pattern = re.compile(says, re.DOTALL) if isinstance(says, str) else says

    def register(explain: Explain) -> Explain:
        RECOGNISERS.append(Recogniser(explain, kinds, pattern, section, sqlalchemy, consequence, says_where))
        return explain

    return register
