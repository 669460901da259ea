"""Queries that repeat within one request: N+1."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from greenroom.diagnosis import fixes
from greenroom.diagnosis.explanation import Explanation, Fix
from greenroom.watch.causes import NO_LINE

if TYPE_CHECKING:
    from greenroom.diagnosis.attributes import Read
    from greenroom.watch.queries import Query
    from greenroom.watch.scopes import Scope


class RepeatedQueriesWarning(UserWarning):
    """One request sent the same query again and again, and `n_plus_one = "warn"` says so."""


_LIMIT: Final = re.compile(
    r"\b(?:LIMIT|FETCH FIRST) (?:(?P<number>\d+)|\$(?P<position>\d+)|%\((?P<name>\w+)\)s)", re.IGNORECASE
)


def repeated_queries(scopes: Iterable[Scope], threshold: int) -> list[Explanation]:
    """Explain the queries that repeat, one explanation for each attribute or line.

    Two requests of a test that do the same are told once, by the one that does it most often.

    Args:
        scopes: The requests of a test.
        threshold: From how many on it is a pattern.
    """
    found: dict[object, tuple[Scope, list[Query]]] = {}
    for scope in scopes:
        groups: dict[object, list[Query]] = {}
        for query in scope.queries or ():
            key = _key(query)
            if key is not None:
                groups.setdefault(key, []).append(query)
        for key, queries in groups.items():
            if len(queries) >= threshold and len(queries) > len(found.get(key, (None, []))[1]):
                found[key] = (scope, queries)
    return [_explanation(scope, queries) for scope, queries in found.values()]


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


def _explanation(scope: Scope, queries: list[Query]) -> Explanation:
    first, times = queries[0], len(queries)
    read = first.cause.read
    if read is None:
        title = f"{scope.name} sent the same query {times} times (N+1)"
        fix = (
            "ask once for all of them, before the loop:",
            "await session.scalars(select(Model).where(Model.id.in_(ids)))",
        )
    else:
        title = f"{scope.name} loaded `{read.name}` {times} times, with a query each (N+1)"
        fix = _fix(read)
    return Explanation(
        title,
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
