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


_LITERAL: Final = re.compile(r"'(?:[^']|'')*'|(?<![\w.$])\d+(?:\.\d+)?(?![\w.])")
"""A value that is written into the text of a query."""

_LIST: Final = re.compile(r"\bIN \(([^()]*(?:\([^()]*\)[^()]*)*)\)", re.IGNORECASE)

_BATCH: Final = 20
"""From so many values on, the list of an IN is a batch: what belongs to one object is fewer, and loaders ask for hundreds."""

_ROWS: Final = re.compile(r"\bVALUES\s*\(.*\)\s*,\s*\(", re.IGNORECASE | re.DOTALL)
_WRITES: Final = ("INSERT", "UPDATE", "DELETE")

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
    def verb(self) -> str:
        """INSERT, UPDATE or DELETE; empty if they change nothing."""
        verb = self.queries[0].statement.lstrip()[:6].upper()
        return verb if verb in _WRITES and not self.queries[0].cause.read else ""

    @property
    def title(self) -> str:
        """What was found, in half a line."""
        times, read = _count(self.queries), self.queries[0].cause.read
        if self.verb:
            return f"{self.scope.name} sent the same {self.verb} {times} times, a row each"
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


def repeated_queries(scopes: Iterable[Scope], threshold: int, *, writes: bool) -> list[Repeated]:
    """The queries that repeat, for each request by attribute or line.

    Args:
        scopes: The requests of a test.
        threshold: From how many on it is a pattern.
        writes: Look for statements that change rows, too.
    """
    found = []
    for scope in scopes:
        groups: dict[object, list[Query]] = {}
        for query in scope.queries or ():
            key = _key(query, writes=writes)
            if key is not None:
                groups.setdefault(key, []).append(query)
        found += [Repeated(key, scope, each) for key, each in groups.items() if _count(each) >= threshold]
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


def _key(query: Query, *, writes: bool) -> object:
    """What is equal for queries that should have been one; None for one that may repeat.

    An attribute is that from wherever it is read. Other queries are the same if their text and all lines that led to them
    are: a function that looks up a user may be called from several places. The batches of a selectinload() may repeat, and
    those of a query that fetches some rows at a time. What changes rows may repeat, unless the project asks for these, too.
    """
    cause = query.cause
    if cause.eager:
        return None
    if cause.read:
        return cause.read.name
    if not cause.lines:
        return None
    verb = query.statement.lstrip()[:6].upper()
    if verb in _WRITES:
        alone = writes and query.transaction is not None and not _ROWS.search(query.statement)
        return (query.statement, cause.lines, query.transaction) if alone else None
    if verb.startswith(("SELECT", "WITH")) and not _is_batch(query):
        text = _LIST.sub("IN (…)", query.statement)
        # Each of these takes time, and few texts have a value in them.
        return _LITERAL.sub("?", text), cause.lines
    return None


def _count(queries: Iterable[Query]) -> int:
    """How often they were sent. A flush sends as many as it must, so they count once."""
    flushes = [query.cause.flush for query in queries]
    return flushes.count(None) + len(set(flushes) - {None})


def _is_batch(query: Query) -> bool:
    """Whether it fetches several rows at a time, as pagination and a queue's worker do: that is what it is repeated for."""
    if any(names.count(",") + 1 >= _BATCH for names in _LIST.findall(query.statement)):
        return True
    parameters = query.parameters
    values = parameters.values() if isinstance(parameters, dict) else parameters or ()
    if any(isinstance(value, list | tuple) and len(value) >= _BATCH for value in values):
        return True
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
    if repeated.verb:
        fix = _WRITE_FIXES[repeated.verb]
    elif read is None:
        fix = (
            "ask once for all of them, before the loop:",
            "await session.scalars(select(Model).where(Model.id.in_(ids)))",
        )
    else:
        fix = _fix(read)
    return Explanation(
        repeated.title,
        "" if read is None or read.why == "relationship" else f"It was {read.condition}.",
        f"{'A statement for each row' if repeated.verb else 'A query for each object'}: few in a test, and thousands in production, where there are more of them.",
        [fix, ("or, where it is meant, allow it in this test:", '@pytest.mark.n_plus_one("off")')],
        "what-is-watched",
        "docs/configuration.md",
        evidence=_evidence(queries),
    )


_FLUSH: Final = "let one flush, after the loop, send them all"
_WRITE_FIXES: Final[dict[str, Fix]] = {
    "INSERT": (
        f"{_FLUSH}, or one statement:",
        "session.add_all(instances)  # or: await session.execute(insert(Model), rows)",
    ),
    "UPDATE": (
        f"{_FLUSH}, or one statement:",
        "await session.execute(update(Model), rows)  # each with its primary key",
    ),
    "DELETE": (
        "delete all of them with one statement:",
        "await session.execute(delete(Model).where(Model.id.in_(ids)))",
    ),
}


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
        # A comprehension is a function of its own up to Python 3.11.
        callers = dict.fromkeys(queries[0].cause.lines[1:])
        lines += [f"    called at {caller}" for caller in callers if str(caller) != lines[0]]
    statement = " ".join(queries[0].statement.split())
    return "\n".join(
        [*(lines[:3] or [NO_LINE]), f"    {statement[:300]}{'…' if len(statement) > 300 else ''}"]
    )
