"""The types of fixtures that have none of their own, for annotations in tests."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from starlette.testclient import TestClient

    from greenroom.watch import Queries

T = TypeVar("T")

__all__ = ["DatabaseEngine", "MakeClient", "RecordQueries", "RoleEngine", "Run"]


class Run(Protocol):
    """The fixture `run`."""

    def __call__(self, awaitable: Awaitable[T], /) -> T:
        """Run a coroutine on the application's loop and return its result."""
        ...

    def context(
        self, manager: AbstractAsyncContextManager[T] | Callable[[], AbstractAsyncContextManager[T]], /
    ) -> AbstractContextManager[T]:
        """Enter an asynchronous context manager on the application's loop: `with run.context(locked()) as lock: …`.

        One that asks for the running loop when it is made is made there: `run.context(lambda: LifespanManager(app))`.
        """
        ...

    def each(self, iterable: AsyncIterable[T], /) -> Iterator[T]:
        """The elements of an asynchronous iterable: `for row in run.each(rows()): …`."""
        ...


class MakeClient(Protocol):
    """The fixture `make_client`."""

    def __call__(self, **options: Any) -> TestClient:
        """Make a client of the application, with arguments for Starlette's `TestClient`; with `app=`, of that one as it stands."""
        ...


class RoleEngine(Protocol):
    """The fixture `role_engine`."""

    def __call__(self, role: str, /) -> Engine:
        """An engine to the test's database as this role."""
        ...


class DatabaseEngine(Protocol):
    """The fixture `database_engine`."""

    def __call__(self, name: str, /) -> Engine:
        """An engine to one of `[tool.greenroom.databases]`."""
        ...


class RecordQueries(Protocol):
    """The fixture `queries`."""

    def __call__(self) -> AbstractContextManager[Queries]:
        """Record the queries that the application sends meanwhile."""
        ...
