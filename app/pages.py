"""Long lists go out in pages: which part is asked for, and how the part is fetched."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Generic, TypeVar

from pydantic import Field
from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.base import ExecutableOption

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a list that is asked for."""

    limit: Annotated[int, Field(ge=1, le=100)] = 20
    offset: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0


FIRST: Final = Window()


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """A part of a list, and how many items the whole list has."""

    items: Sequence[Item]
    total: int
    limit: int
    offset: int


async def fetch_page(
    session: AsyncSession,
    query: Select[Item],
    window: Window,
    *,
    order_by: Sequence[Any],
    options: Sequence[ExecutableOption] = (),
) -> Page[Item]:
    """The rows of a query that are in the window, in this order and with these loader options."""
    count = select(func.count()).select_from(query.subquery())
    part = query.order_by(*order_by).limit(window.limit).offset(window.offset).options(*options)
    # In one statement: between two, somebody else may add an item, and the page would have more of them than the list.
    rows = (await session.execute(part.add_columns(count.scalar_subquery()))).all()
    if not rows:
        total = await session.scalar(count) if window.offset else 0  # beyond the end, or there is nothing
        return Page([], total or 0, window.limit, window.offset)
    return Page([row[0] for row in rows], rows[0][-1], window.limit, window.offset)
