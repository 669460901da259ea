"""What looks like a known error and is none gets no explanation: a wrong one costs more than none."""

from __future__ import annotations

import asyncio
import contextlib
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock, MagicMock

import pytest
from fastapi import FastAPI, Request
from pydantic import BaseModel
from sqlalchemy import Column, Integer, MetaData, String, Table, create_engine, event, exc, select, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship
from sqlalchemy.orm.exc import DetachedInstanceError
from sqlalchemy.orm.exc import ObjectDeletedError as Deleted
from sqlalchemy.pool import QueuePool
from starlette.testclient import TestClient

from greenroom.explain import explain
from greenroom.explain.pasted import explain_text


class _Base(DeclarativeBase):
    pass


class _Parent(_Base):
    __tablename__ = "parents"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String)


Alike = Callable[[], object]
ALIKE: list[Alike] = []


def alike(function: Alike) -> Alike:
    """Remember a function that raises an error which looks like another."""
    ALIKE.append(function)
    return function


@alike
def _a_text_of_ones_own() -> None:
    raise RuntimeError("greenlet_spawn has not been called; can't call await_() here.")


@alike
def _an_assertion_about_the_text() -> None:
    error = "MissingGreenlet: greenlet_spawn has not been called"
    assert error == "", error


@alike
def _another_loop_said_by_hand() -> None:
    raise RuntimeError("Task <Task pending> got Future <Future pending> attached to a different loop")


@alike
def _a_closed_loop_said_by_hand() -> None:
    raise RuntimeError("Event loop is closed")


@alike
def _a_bound_queue_said_by_hand() -> None:
    raise RuntimeError("<Queue at 0x1 maxsize=1> is bound to a different event loop")


@alike
def _asyncio_run_said_by_hand() -> None:
    raise RuntimeError("asyncio.run() cannot be called from a running event loop")


@alike
def _a_coroutine_that_is_awaited_twice() -> None:
    coroutine = asyncio.sleep(0)
    asyncio.run(coroutine)
    asyncio.run(coroutine)


@alike
def _an_interface_error_of_another_kind() -> None:
    raise exc.InterfaceError("SELECT 1", {}, Exception("cannot perform operation: connection is closed"))


@alike
def _a_missing_attribute_of_a_state_of_ones_own() -> None:
    state: Any = SimpleNamespace()
    state.greeting  # noqa: B018


@alike
def _a_state_class_of_ones_own() -> None:
    class State:
        pass

    state: Any = State()
    state.greeting  # noqa: B018


def application(*, lifespan: bool) -> FastAPI:
    """One whose endpoint reads what nobody sets."""

    @asynccontextmanager
    async def nothing(_app: FastAPI) -> AsyncIterator[None]:
        yield

    app = FastAPI(lifespan=nothing if lifespan else None)

    @app.get("/")
    async def get(request: Request) -> str:
        return str(request.app.state.greeting)

    return app


@alike
def _a_state_that_the_lifespan_does_not_set() -> None:
    with TestClient(application(lifespan=True)) as client:
        client.get("/")


@alike
def _a_state_without_any_lifespan() -> None:
    TestClient(application(lifespan=False)).get("/")


@alike
def _a_mock_that_was_not_awaited() -> None:
    assert MagicMock(name="'coroutine' object has no attribute 'name'").name == "a"


@alike
def _an_attribute_that_a_result_lacks() -> None:
    async def create() -> _Parent:
        return _Parent()

    asyncio.run(create()).nothing  # type: ignore[attr-defined]  # noqa: B018


@alike
def _a_coroutine_text_by_hand() -> None:
    raise AttributeError("'coroutine' object has no attribute 'name'")


@alike
def _a_type_error_by_hand() -> None:
    raise TypeError("'coroutine' object is not subscriptable")


@alike
def _a_library_that_forgets_a_coroutine() -> None:
    warnings.warn("coroutine 'Connection._cancel' was never awaited", RuntimeWarning, stacklevel=2)


@alike
def _a_session_that_a_library_does_not_close() -> None:
    warnings.warn("coroutine 'AsyncSession.close' was never awaited", RuntimeWarning, stacklevel=2)


@alike
def _a_commit_that_a_warning_by_hand_speaks_of() -> None:
    warnings.warn("coroutine 'AsyncSession.commit' was never awaited", RuntimeWarning, stacklevel=2)


async def _nothing() -> None: ...


@alike
def _two_coroutines_that_are_compared() -> None:
    with contextlib.closing(_nothing()) as one, contextlib.closing(_nothing()) as other:
        assert one == other


@alike
def _a_coroutine_that_has_run_and_is_compared() -> None:
    coroutine: Any = _nothing()
    asyncio.run(coroutine)
    assert coroutine == 1


@alike
def _a_list_with_a_coroutine() -> None:
    with contextlib.closing(_nothing()) as coroutine:
        coroutines: list[Any] = [coroutine]
        assert coroutines == [1]


@alike
def _a_generator_text_by_hand() -> None:
    raise AttributeError("'async_generator' object has no attribute 'add'")


@alike
def _an_asynchronous_generator_that_is_meant() -> None:
    async def numbers() -> AsyncIterator[int]:
        yield 1

    generator: Any = numbers()
    generator.send(None)


@alike
def _an_assertion_about_a_coroutine_by_hand() -> None:
    raise AssertionError("assert <coroutine object create at 0x7f0000000000> == 'a'")


@alike
def _an_async_mock_that_failed() -> None:
    mock = AsyncMock(side_effect=LookupError("attached to a different loop"))
    asyncio.run(mock())


@alike
def _a_transaction_closed_by_hand() -> None:
    raise exc.InvalidRequestError("This transaction is closed")


def _listen(name: str, listener: Callable[[Session], None]) -> None:
    engine = create_engine("sqlite://")
    _Base.metadata.create_all(engine)
    with Session(engine) as session:
        event.listen(session, name, lambda *_: listener(session))
        session.add(_Parent(name="a"))
        session.commit()


@alike
def _a_flush_that_a_listener_commits() -> None:
    _listen("after_flush", lambda session: session.commit())


@alike
def _a_commit_in_which_a_listener_closes() -> None:
    _listen("before_commit", lambda session: session.close())


@alike
def _a_begin_in_which_a_listener_commits() -> None:
    _listen("after_begin", lambda session: session.commit())


@alike
def _a_busy_session_said_by_hand() -> None:
    raise exc.IllegalStateChangeError(
        "Method 'close()' can't be called here; method 'commit()' is already in progress"
    )


@alike
def _a_cancel_scope_said_by_hand() -> None:
    raise RuntimeError("Attempted to exit cancel scope in a different task than it was entered in")


@alike
def _a_bad_yield_said_by_hand() -> None:
    raise RuntimeError("Task got bad yield: 1")


@alike
def _a_short_response_said_by_hand() -> None:
    raise RuntimeError("Response content shorter than Content-Length")


@alike
def _datetimes_of_ones_own() -> None:
    assert datetime.now(UTC) - datetime(2026, 1, 1)  # noqa: DTZ001 - it has none, and so it fails


@alike
def _a_session_without_what_nobody_has() -> None:
    Session().nothing  # type: ignore[attr-defined]  # noqa: B018


@alike
def _another_operational_error() -> None:
    raise exc.OperationalError("SELECT 1", {}, RuntimeError("no password supplied"))


@alike
def _a_connecting_session_said_by_hand() -> None:
    raise exc.InvalidRequestError(
        "This session is provisioning a new connection; concurrent operations are not permitted"
    )


@alike
def _another_resource_closed() -> None:
    raise exc.ResourceClosedError("This door is closed")


@alike
def _a_timeout_of_asyncio() -> None:
    async def wait() -> None:
        await asyncio.wait_for(asyncio.Event().wait(), 0)

    asyncio.run(wait())


@alike
def _a_timeout_by_hand() -> None:
    raise TimeoutError("QueuePool limit of size 5 overflow 10 reached, connection timed out, timeout 30.00")


@alike
def _a_pool_that_cannot_connect() -> None:
    def refuse() -> Any:
        raise ConnectionRefusedError("no")

    QueuePool(refuse).connect()


@alike
def _a_detached_instance_said_by_hand() -> None:
    raise DetachedInstanceError("Instance is detached")


@alike
def _a_deleted_instance() -> None:
    from sqlalchemy import inspect

    raise Deleted(inspect(_Parent()))


@alike
def _a_validation_error_of_another_kind() -> None:
    class Model(BaseModel):
        name: int

    Model.model_validate({"name": "MissingGreenlet: greenlet_spawn has not been called"})


@alike
def _a_validation_of_an_object_that_raises() -> None:
    class Model(BaseModel, from_attributes=True):
        name: str

    class Broken:
        @property
        def name(self) -> str:
            raise LookupError("MissingGreenlet is not what this is")

    Model.model_validate(Broken())


@alike
def _a_relationship_that_is_wrong() -> None:
    class Other(DeclarativeBase):
        pass

    class Child(Other):
        __tablename__ = "children"
        id: Mapped[int] = mapped_column(primary_key=True)
        parent = relationship("Nobody")

    Child()


@alike
def _a_synchronous_context_manager_of_ones_own() -> None:
    class AsyncConnection:
        pass

    with AsyncConnection():  # type: ignore[attr-defined]
        pass


@alike
def _an_engine_attribute_that_nobody_has() -> None:
    create_async_engine("postgresql+asyncpg://").no_such_thing  # type: ignore[attr-defined]  # noqa: B018


@alike
def _a_missing_driver() -> None:
    create_engine("postgresql+nothing://")


@alike
def _a_value_error_about_greenlets() -> None:
    raise ValueError("the greenlet library is required to use this function.")


@alike
def _a_mock_that_raises_it() -> None:
    MagicMock(
        side_effect=exc.MissingGreenlet("greenlet_spawn has not been called; can't call await_() here.")
    )()


@alike
def _a_mock_of_a_session_that_raises_it() -> None:
    session = AsyncMock()
    session.execute.side_effect = exc.ResourceClosedError("This Connection is closed")
    asyncio.run(session.execute("SELECT 1"))


@alike
def _a_pending_rollback_by_hand() -> None:
    raise exc.PendingRollbackError("Can't reconnect until invalid transaction is rolled back.")


@alike
def _a_failed_expectation() -> None:
    with pytest.raises(exc.MissingGreenlet, match="another text"):
        raise exc.MissingGreenlet("greenlet_spawn has not been called; can't call await_() here.")


@alike
def _an_assertion_while_a_known_error_is_handled() -> None:
    try:
        raise exc.MissingGreenlet("greenlet_spawn has not been called; can't call await_() here.")
    except exc.MissingGreenlet:
        assert [] == [1]


@alike
def _a_failure_while_a_known_error_is_handled() -> None:
    with contextlib.suppress(LookupError):
        raise LookupError
    try:
        raise exc.PendingRollbackError("Can't reconnect until invalid transaction is rolled back.")
    except exc.PendingRollbackError:
        pytest.fail("the text is another one")


@alike
def _a_failure_by_hand() -> None:
    pytest.fail("the tests say: async def functions are not natively supported.")


@alike
def _a_unit_of_work_that_is_wrong() -> None:
    with Session(create_engine("sqlite://")) as session:
        session.execute(text("SELECT * FROM nothing"))


@alike
def _a_statement_that_cannot_be_compiled() -> None:
    table = Table("t", MetaData(), Column("id", Integer))
    with create_engine("sqlite://").connect() as connection:
        connection.execute(select(table.c.nothing))


@pytest.mark.filterwarnings("default::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("function", ALIKE, ids=lambda function: function.__name__[1:])
def test_not_explained(function: Alike) -> None:
    """An error that only looks like a known one has no explanation."""
    try:
        function()
    except BaseException as error:  # noqa: BLE001 - also what pytest.fail() raises
        explanation = explain(error)
        assert explanation is None, explanation.render()
    else:
        raise LookupError(f"{function.__name__} raised nothing")


TEXTS = {
    "no traceback": "All good.\n3 passed in 0.1 s\n",
    "a sentence about it": "We saw MissingGreenlet: greenlet_spawn has not been called yesterday.\n",
    "another error": 'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    g()\nValueError: Event loop is closed\n',
    "a line of a log": "2026-11-23T03:00:00Z INFO attached to a different loop: none\n",
    "a repr": 'E   assert <[MissingGreenlet("greenlet_spawn") raised in repr()] Row object at 0x1> == 5\n',
    "a list of coroutines": (
        "    assert [create()] == [1]\nE   assert [<coroutine object create at 0x7f01>] == [1]\n\ntests/test_a.py:3: AssertionError\n"
    ),
    "two coroutines": (
        ">       assert one is other\nE       assert <coroutine object create at 0x7f01> is <coroutine object create at 0x7f02>\n\n"
        "tests/test_a.py:3: AssertionError\n"
    ),
    "an assertion about a text": (
        ">       assert text == ''\nE       assert 'assert <coro...t 0x7f01> == 1' == ''\n\ntests/test_a.py:3: AssertionError\n"
    ),
    "a connection that psycopg does not open": "a.py:1: RuntimeWarning: coroutine 'AsyncConnection.connect' was never awaited\n",
    "a session that nobody closes": "a.py:1: RuntimeWarning: coroutine 'AsyncSession.close' was never awaited\n",
    "a state under greenroom's client": (
        "tests/test_a.py:3: in test_a\n    client.get('/')\n"
        "/venv/lib/python3.13/site-packages/greenroom/loop/client.py:150: in _reraise\n    raise self._error\n"
        "/venv/lib/python3.13/site-packages/starlette/testclient.py:366: in run_app\n    await self.app()\n"
        "app/main.py:9: in get\n    return request.app.state.mailr\n"
        "/venv/lib/python3.13/site-packages/starlette/datastructures.py:699: in __getattr__\n    raise AttributeError(message)\n"
        "E   AttributeError: 'State' object has no attribute 'mailr'\n"
    ),
    "a sentence about the garbage collector": (
        "Why: The garbage collector is trying to clean up non-checked-in connection <x>, which will be terminated.\n"
    ),
    "another warning at Python's end": "sys:1: ResourceWarning: unclosed <socket.socket fd=9>\n",
    "another warning of SQLAlchemy": "a.py:1: SAWarning: Coercing Subquery object into a select()\n",
    "a test of the text": (
        "tests/test_a.py:3: in test_a\n    assert \"coroutine 'send' was never awaited\" in text\nE   AssertionError: assert 1 == 2\n"
    ),
    "a line that raises it": (
        '    raise ValueError("cannot perform operation: another operation is in progress")\n'
        '    with pytest.raises(Error, match="cannot perform operation: another operation is in progress"):\n'
        "    error = 'cannot perform operation: another operation is in progress'\n"
    ),
    "another's error with the text": (
        'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    g()\n'
        "shop.errors.BusyError: cannot perform operation: another operation is in progress\n"
    ),
    "datetimes of Python's own": (
        'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    one - other\n'
        "TypeError: can't subtract offset-naive and offset-aware datetimes\n"
    ),
    "a server's statement of another language": 'ERROR: prepared statement "plan1" does not exist\n',
    "a loop closed in no frame of asyncio": (
        'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    raise RuntimeError("Event loop is closed")\n'
        "RuntimeError: Event loop is closed\n"
    ),
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_text_not_explained(text: str) -> None:
    """A text that only speaks of a known error has no explanation."""
    assert explain_text(text) == []


def test_there_are_thirty() -> None:
    """There are at least thirty look-alikes."""
    assert len(ALIKE) >= 30
