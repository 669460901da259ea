"""Queries that repeat within one request: N+1."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from greenroom.diagnosis import fixes
from greenroom.diagnosis.explanation import Explanation, Fix
from greenroom.watch.causes import NO_LINE

if TYPE_CHECKING:
    from greenroom.diagnosis.attributes import Read
    from greenroom.record import Found
    from greenroom.watch.known import Known
    from greenroom.watch.queries import Query
    from greenroom.watch.scopes import Scope


KIND: Final = "n_plus_one"


class RepeatedQueriesWarning(UserWarning):
    """One request sent the same query again and again, and `n_plus_one = "warn"` says so."""


_LIMIT: Final = re.compile(
    r"\b(?:LIMIT|FETCH FIRST) (?:(?P<number>\d+)|\$(?P<position>\d+)|%\((?P<name>\w+)\)s)", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Repeated:
    """Queries of one request that should have been one.

    Attributes:
        key: What is the same for all of them: an attribute, or a text and lines.
        scope: The request.
        queries: They.
    """

    key: object
    scope: Scope
    queries: list[Query]

    @property
    def title(self) -> str:
        """What was found, in half a line."""
        times, read = len(self.queries), self.queries[0].cause.read
        if read is None:
            return f"{self.scope.name} sent the same query {times} times (N+1)"
        return f"{self.scope.name} loaded `{read.name}` {times} times, with a query each (N+1)"

    def places(self, known: Known, test: str) -> list[Found]:
        """It as a finding for each line that it came from.

        Args:
            known: Makes findings.
            test: The node ID of the test.
        """
        causes = [query.cause for query in self.queries]
        first = list({cause.line: cause for cause in causes}.values())
        return [
            known.found(
                KIND,
                cause.lines,
                self.title,
                test,
                attribute=cause.read.name if cause.read else "",
                loop=cause.read is None,
            )
            for cause in first
        ]


def repeated_queries(scopes: Iterable[Scope], threshold: int) -> list[Repeated]:
    """The queries that repeat, for each request by attribute or line.

    Args:
        scopes: The requests of a test.
        threshold: From how many on it is a pattern.
    """
    found = []
    for scope in scopes:
        groups: dict[object, list[Query]] = {}
        for query in scope.queries or ():
            key = _key(query)
            if key is not None:
                groups.setdefault(key, []).append(query)
        found += [Repeated(key, scope, each) for key, each in groups.items() if len(each) >= threshold]
    return found


def explained(repeated: Iterable[Repeated]) -> list[Explanation]:
    """Explain them, one explanation for each attribute or line.

    Two requests of a test that do the same are told once, by the one that does it most often.
    """
    most: dict[object, Repeated] = {}
    for each in repeated:
        if each.key not in most or len(each.queries) > len(most[each.key].queries):
            most[each.key] = each
    return list(map(_explanation, most.values()))


def _key(query: Query) -> object:
    """What is equal for queries that should have been one; None for one that may repeat.

    An attribute is that from wherever it is read. Other queries are the same if their text and all lines that led to them
    are: a function that looks up a user may be called from several places. What changes rows may repeat: SQLAlchemy itself
    sends an UPDATE for each object. So may the batches of a selectinload(), and those of a query that fetches some rows at a time.
    """
    cause = query.cause
    if cause.eager:
        return None
    if cause.read:
        return cause.read.name
    if _is_batch(query):
        return None
    if cause.lines and query.statement.lstrip()[:6].upper().startswith(("SELECT", "WITH")):
        return query.statement, cause.lines
    return None


def _is_batch(query: Query) -> bool:
    """Whether it fetches several rows at a time, as pagination and a queue's worker do: that is what it is repeated for."""
    found = _LIMIT.search(query.statement)
    if not found:
        return False
    limit: object = found["number"]
    if limit is None:
        try:
            limit = query.parameters[found["name"] or int(found["position"]) - 1]
        except (KeyError, IndexError, TypeError):
            return False
    return str(limit) != "1"


def _explanation(repeated: Repeated) -> Explanation:
    queries = repeated.queries
    read = queries[0].cause.read
    if read is None:
        fix = (
            "ask once for all of them, before the loop:",
            "await session.scalars(select(Model).where(Model.id.in_(ids)))",
        )
    else:
        fix = _fix(read)
    return Explanation(
        repeated.title,
        "" if read is None or read.why == "relationship" else f"It was {read.condition}.",
        "A query for each object: few in a test, and thousands in production, where there are more of them.",
        [fix, ("or, where it is meant, allow it in this test:", '@pytest.mark.n_plus_one("off")')],
        "what-is-watched",
        "docs/configuration.md",
        evidence=_evidence(queries),
    )


def _fix(read: Read) -> Fix:
    if read.why == "expired":
        return fixes.KEEP_AFTER_COMMIT
    if read.why == "void":
        query = f"select({read.model}).execution_options(populate_existing=True)"
        return "load it for all of them with one query:", f"await session.scalars({query})"
    return fixes.in_the_query(read, f"load it for all of them with the query that loads the {read.model}s")


def _evidence(queries: list[Query]) -> str:
    """The lines that the queries come from, and what they say."""
    lines = list(dict.fromkeys(str(query.cause.line) for query in queries if query.cause.line))
    if len(lines) == 1:
        lines += [f"    called at {caller}" for caller in queries[0].cause.lines[1:]]
    statement = " ".join(queries[0].statement.split())
    return "\n".join(
        [*(lines[:3] or [NO_LINE]), f"    {statement[:300]}{'…' if len(statement) > 300 else ''}"]
    )
