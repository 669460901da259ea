"""The fixture `queries`: which queries the application sends, to be counted in a test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self, overload

if TYPE_CHECKING:
    from greenroom.watch.causes import Cause

SHOWN = 200
"""Characters of a statement that a message shows."""

_NO_LINE: Final = "no line of the project's own"


@dataclass(frozen=True, slots=True)
class Query:
    """A statement that the application has sent.

    Attributes:
        statement: Its text, as the driver got it.
        parameters: Its parameters, as the driver got them; not shown anywhere, since they may be secrets.
        cause: What led to it.
        transaction: The number of the transaction that it is sent in; None if it may repeat there: it has many rows, or a
            savepoint of its own.
    """

    statement: str
    parameters: Any = field(repr=False)
    cause: Cause
    transaction: int | None = field(default=None, repr=False)

    @property
    def attribute(self) -> str:
        """The attribute that was loaded by reading it, such as `Customer.orders`; empty if it was none."""
        return self.cause.read.name if self.cause.read else ""

    @property
    def where(self) -> str:
        """The user's own line, `file:line`; empty if there is none."""
        return self.cause.line.where if self.cause.line else ""

    @property
    def shown(self) -> str:
        """Its text on one line, the beginning if it is long."""
        text = " ".join(self.statement.split())
        return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"

    def __str__(self) -> str:
        place = self.where or _NO_LINE
        return f"{place}{f' ({self.attribute})' if self.attribute else ''}: {self.shown}"


class Count(int):
    """How many queries there were. Compared in an `assert`, it tells which."""

    queries: Queries

    def __new__(cls, queries: Queries) -> Self:
        """The count of these."""
        count = super().__new__(cls, len(queries))
        count.queries = queries
        return count


class Queries:
    """The queries of a block, in the order in which they were sent."""

    def __init__(self) -> None:
        self._queries: list[Query] = []

    def add(self, query: Query) -> None:
        """Add one."""
        self._queries.append(query)

    @property
    def count(self) -> Count:
        """How many they are."""
        return Count(self)

    @property
    def statements(self) -> list[str]:
        """Their texts."""
        return [query.statement for query in self._queries]

    @overload
    def __getitem__(self, index: int) -> Query: ...

    @overload
    def __getitem__(self, index: slice) -> list[Query]: ...

    def __getitem__(self, index: int | slice) -> Query | list[Query]:
        """One of them, or some."""
        return self._queries[index]

    def __len__(self) -> int:
        return len(self._queries)

    def __iter__(self) -> Iterator[Query]:
        return iter(self._queries)

    def __repr__(self) -> str:
        return f"<{len(self)} queries>"

    def __str__(self) -> str:
        """All of them, a line each; equal ones together."""
        counted = Counter(map(str, self._queries))
        return "\n".join(f"{count} × {text}" for text, count in counted.items()) or "no queries"


def compared(operator: str, left: object, right: object) -> list[str] | None:
    """What pytest shows when a count was another one than the test expected."""
    count = left if isinstance(left, Count) else right
    if not isinstance(count, Count):
        return None
    return [f"{left} {operator} {right} queries; the application sent:", *str(count.queries).splitlines()]


def over_budget(queries: Queries, most: int) -> str:
    """What is to be said of more queries than `max_queries` allows; empty if there are not more.

    Args:
        queries: Those of the test.
        most: How many it may send.
    """
    if len(queries) <= most:
        return ""
    lines: dict[str, Counter[str]] = {}
    for query in queries:
        # With the line's text, which says more than its number.
        place = str(query.cause.line) if query.cause.line else _NO_LINE
        text = f"{query.shown}{f' ({query.attribute})' if query.attribute else ''}"
        lines.setdefault(place, Counter())[text] += 1
    said = [f"The application sent {len(queries)} queries. @pytest.mark.max_queries({most}) allows {most}."]
    for place, counted in lines.items():
        said += [
            "",
            f"{place} ({counted.total()})",
            *(f"    {times} × {text}" for text, times in counted.items()),
        ]
    return "\n".join(said)
