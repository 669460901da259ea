"""Queries that repeat within one request: N+1."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from greenroom.watch.errors import told

if TYPE_CHECKING:
    from greenroom.watch.queries import Query
    from greenroom.watch.requests import Scope


_LIMIT: Final = re.compile(
    r"\b(?:LIMIT|FETCH FIRST) (?:(?P<number>\d+)|\$(?P<position>\d+)|%\((?P<name>\w+)\)s)", re.IGNORECASE
)


def repeated(scopes: Iterable[Scope], threshold: int) -> list[str]:
    """What is to be said about the queries that repeat, one text for each attribute or line.

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
    return [_explained(scope, queries) for scope, queries in found.values()]


def _key(query: Query) -> object:
    """What is equal for queries that should have been one; None for one that may repeat.

    An attribute is that from wherever it is read. Other queries are the same if their text and all lines that led to them
    are: a function that looks up a user may be called from several places. What changes rows may repeat: SQLAlchemy itself
    sends an UPDATE for each object. So may the batches of a selectinload(), and those of a query that fetches some rows at a time.
    """
    origin = query.origin
    if origin.eager:
        return None
    if origin.read:
        return origin.read.name
    if _is_batch(query):
        return None
    if origin.lines and query.statement.lstrip()[:6].upper().startswith(("SELECT", "WITH")):
        return query.statement, origin.lines
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


def _explained(scope: Scope, queries: list[Query]) -> str:
    query = queries[0]
    read = query.origin.read
    lines = list(dict.fromkeys(str(query.origin.line) for query in queries if query.origin.line))
    if len(lines) == 1:
        lines += [f"    called at {caller}" for caller in query.origin.lines[1:]]
    where = "\n".join(lines[:3]) or "no line of the project's own: where a response is made of the model"
    statement = " ".join(query.statement.split())
    times = len(queries)
    if read is None:
        what = f"{scope.name} sent the same query {times} times (N+1)."
        fix = (
            "ask once for all of them, before the loop:",
            "await session.scalars(select(Model).where(Model.id.in_(ids)))",
        )
    elif read.relationship:
        what = f"{scope.name} loaded `{read.name}` {times} times, with a query each (N+1)."
        fix = (
            f"load it for all of them with the query that loads the {read.model}s:",
            f"select({read.model}).options(selectinload({read.name}))",
        )
    elif read.void:
        what = f"{scope.name} loaded `{read.name}`, which was not loaded or void since a flush, {times} times, with a query each (N+1)."
        fix = (
            "load it for all of them with one query:",
            f"await session.scalars(select({read.model}).execution_options(populate_existing=True))",
        )
    elif read.expired:
        what = f"{scope.name} loaded the expired `{read.name}` {times} times, with a query each (N+1)."
        fix = ("keep what is loaded after a commit:", "async_sessionmaker(engine, expire_on_commit=False)")
    else:
        what = f"{scope.name} loaded the deferred `{read.name}` {times} times, with a query each (N+1)."
        fix = (
            f"load it for all of them with the query that loads the {read.model}s:",
            f"select({read.model}).options(undefer({read.name}))",
        )
    return told(
        f"{what}\n{where}\n    {statement[:300]}{'…' if len(statement) > 300 else ''}",
        "A query for each object: few in a test, and thousands in production, where there are more of them.",
        [fix, ("or, where it is meant, allow it in this test:", '@pytest.mark.n_plus_one("off")')],
        "docs/configuration.md#what-is-watched",
    )
