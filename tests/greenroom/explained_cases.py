"""The tests of the project `explained`: what each raises, and what its explanation says."""

from __future__ import annotations

from typing import Final, NamedTuple


class Case(NamedTuple):
    """A test of the project that fails.

    Attributes:
        name: The test's, without `test_`.
        raised: What its error says, a regular expression.
        section: The section of docs/faq.md that the explanation names; empty if there is none.
        says: What stands in the explanation.
        here: What its line is marked with, `# here: …`; None if the explanation names no line.
        both: It fails with psycopg, too.
    """

    name: str
    raised: str
    section: str
    says: tuple[str, ...] = ()
    here: str | None = ""
    both: bool = True


GREENLET: Final = r"greenlet_spawn has not been called; can't call await_(?:only)?\(\) here"
LOOP: Final = r"got Future <Future pending.*> attached to a different loop"
BUSY: Final = "cannot perform operation: another operation is in progress"
STATE: Final = r"'State' object has no attribute '\w+'"
QUERY: Final = ".options(selectinload(Provider.connection))"
REFRESH: Final = 'await session.refresh(provider, attribute_names=["connection"])'

CASES: Final = (
    Case(
        "lazy_relationship",
        GREENLET,
        "lazy-load",
        ("Provider(id=1)", "vault/service.py:17", QUERY, REFRESH),
    ),
    Case("lazy_relationship_in_a_request", GREENLET, "lazy-load", (QUERY, REFRESH), "lazy_relationship"),
    Case(
        "lazy_relationship_got",
        GREENLET,
        "lazy-load",
        ("await session.get(Provider, key, options=[selectinload(Provider.connection)])",),
    ),
    Case(
        "lazy_relationships_in_a_loop",
        GREENLET,
        "lazy-load",
        (
            "select(Connection).options(selectinload(Connection.tokens))",
            "await connection.awaitable_attrs.tokens",
        ),
    ),
    Case(
        "lazy_relationship_of_a_new_object",
        GREENLET,
        "lazy-load",
        ("made by its constructor", "Connection(…, tokens=[])"),
    ),
    Case(
        "lazy_relationship_in_a_property",
        GREENLET,
        "lazy-load",
        (QUERY, "before connected() is called, which cannot await", REFRESH, "vault/service.py:72"),
    ),
    Case(
        "lazy_relationship_in_the_test",
        GREENLET,
        "lazy-load",
        (
            "run(async_session.get(Provider, provider, options=[selectinload(Provider.connection)]))",
            'run(async_session.refresh(found, attribute_names=["connection"]))',
        ),
    ),
    Case("lazy_relationship_in_a_fixture", GREENLET, "lazy-load", ("`found.connection`",)),
    Case("lazy_relationship_in_a_teardown", GREENLET, "lazy-load", ("`found.connection`",)),
    Case(
        "expired_by_commit",
        GREENLET,
        "expired-attribute",
        ("expire_on_commit=True", "async_sessionmaker(engine, expire_on_commit=False)"),
    ),
    Case("expired_by_rollback", GREENLET, "expired-attribute", ("It was not commit()",)),
    Case(
        "expired_by_the_database",
        GREENLET,
        "expired-attribute",
        ("Provider.changed", '"eager_defaults": True'),
    ),
    Case("deferred_column", GREENLET, "deferred-column", ("options(undefer(Provider.notes))",)),
    Case("synchronous_call", GREENLET, "synchronous-call", ("session.sync_session.scalars(",)),
    Case(
        "create_engine_on_an_asynchronous_url",
        GREENLET,
        "create-engine-on-an-asynchronous-url",
        (
            "create_async_engine(url)",
            'create_engine(make_url(url).set(drivername="postgresql+psycopg"))',
        ),
    ),
    Case(
        "create_engine_on_a_fixture",
        GREENLET,
        "create-engine-on-an-asynchronous-url",
        (
            "create_async_engine(url_of_db, echo=False)",
            'create_engine(make_url(url_of_db).set(drivername="postgresql+psycopg"), echo=False)',
        ),
    ),
    Case(
        "response_model",
        "'type': 'get_attribute_error', 'loc': .'response', 'connection'.",
        "response-model",
        ("Provider.connection", QUERY),
        "response_model",
    ),
    Case("validated_by_pydantic", "Error extracting attribute: ", "response-model", (QUERY, REFRESH)),
    Case("swallowed_by_the_server", "assert 500 == 200", "lazy-load", ("GET /providers/a/connected",), None),
    Case("swallowed_and_unknown", "assert 500 == 200", "", ("GET /broken", "LookupError: broken"), None),
    Case(
        "different_loop",
        LOOP,
        "different-loop",
        (
            "another loop, which does not run at the moment",
            "the loop that was started at tests/test_loops.py",
            "run(select_one(own))",
        ),
        "select_one",
        both=False,
    ),
    Case(
        "event_loop_is_closed",
        "Event loop is closed",
        "different-loop",
        ("a loop that is closed by now",),
        "select_one",
        both=False,
    ),
    Case(
        "another_operation_is_in_progress",
        BUSY,
        "different-loop",
        ("half-way", "a loop that is closed by now"),
        "select_one",
        both=False,
    ),
    Case(
        "another_operation_on_another_loop",
        BUSY,
        "different-loop",
        ("another loop, which does not run at the moment",),
        "select_one",
        both=False,
    ),
    Case("two_tasks_on_one_session", BUSY, "another-operation-is-in-progress", ("two tasks",), both=False),
    Case(
        "two_tasks_on_a_new_session",
        "This session is provisioning a new connection; concurrent operations are not permitted",
        "another-operation-is-in-progress",
        ("two tasks", "async with new_session() as session"),
    ),
    Case(
        "session_closed_by_another_task",
        r"Method 'commit\(\)' can't be called here; method 'rollback\(\)' is already in progress",
        "another-operation-is-in-progress",
        ("commit() while another task uses the session",),
    ),
    Case(
        "session_of_another_loop",
        LOOP,
        "different-loop",
        ("by the session or connection that is used here", "async with new_session() as session"),
        both=False,
    ),
    Case(
        "commit_on_another_loop",
        LOOP,
        "different-loop",
        ("by the session or connection that is used here",),
        both=False,
    ),
    Case(
        "connection_without_a_pool",
        LOOP,
        "different-loop",
        ("by the session or connection that is used here",),
        both=False,
    ),
    Case(
        "queue_bound_to_a_different_event_loop",
        "<Queue at .*> is bound to a different event loop",
        "queue-bound-to-a-different-event-loop",
        ("a loop that is closed by now",),
        "connect",
    ),
    Case(
        "lock_bound_to_a_different_event_loop",
        r"Lock object at .*> is bound to a different event loop",
        "queue-bound-to-a-different-event-loop",
        ("asyncio.Lock", "greenroom's loop, the one of `client` and `run`"),
    ),
    Case("future_of_a_different_event_loop", LOOP, "different-loop", ("`await future`",)),
    Case(
        "running_event_loop",
        r"asyncio\.run\(\) cannot be called from a running event loop",
        "running-event-loop",
        ("await select_one(engine)",),
    ),
    Case(
        "running_event_loop_in_a_plain_function",
        r"asyncio\.run\(\) cannot be called from a running event loop",
        "running-event-loop",
        ("await asyncio.to_thread(migrate)",),
    ),
    Case(
        "detached_relationship",
        "lazy load operation of attribute 'connection' cannot proceed",
        "detached-instance",
        ("Provider.connection", QUERY),
    ),
    Case(
        "detached_and_expired",
        "attribute refresh operation cannot proceed",
        "detached-instance",
        ("expire_on_commit=False",),
    ),
    Case(
        "detached_relationship_of_an_expired_one",
        "lazy load operation of attribute 'connection' cannot proceed",
        "detached-instance",
        (QUERY, "session.get(Provider, …).connection"),
    ),
    Case(
        "detached_in_the_synchronous_session",
        "lazy load operation of attribute 'connection' cannot proceed",
        "detached-instance",
        ("session.get(Provider, …).connection",),
    ),
    Case(
        "pending_rollback",
        "This Session's transaction has been rolled back due to a previous exception during flush",
        "pending-rollback",
        ("IntegrityError", "async with session.begin_nested()", "await session.rollback()"),
    ),
    Case(
        "connection_lost",
        "Can't reconnect until invalid transaction is rolled back",
        "connection-lost-in-a-transaction",
        ("async with new_session() as session", "await session.rollback()"),
    ),
    Case(
        "failed_transaction", "current transaction is aborted", "failed-transaction", ("async with session",)
    ),
    Case(
        "failed_transaction_in_the_synchronous_session",
        "current transaction is aborted",
        "failed-transaction",
        ("    with session.begin_nested()", "    session.rollback()"),
    ),
    Case("closed_transaction", "This transaction is closed", "resource-closed", ("create_savepoint",)),
    Case(
        "closed_connection", "This Connection is closed", "resource-closed", ("async with engine.connect()",)
    ),
    Case("closed_result", "This result object is closed", "resource-closed", ("`result.all()`",)),
    Case(
        "result_without_rows", "This result object does not return rows", "resource-closed", ("returning(",)
    ),
    Case(
        "queuepool_limit",
        "QueuePool limit of size 1 overflow 0 reached, connection timed out, timeout 0.20",
        "queuepool-limit",
        ("`test_pools.small`",),
    ),
    Case(
        "garbage_collector",
        "The garbage collector is trying to clean up non-checked-in connection",
        "garbage-collector",
        here=None,
    ),
    Case(
        "lifespan_of_the_application", STATE, "lifespan-never-entered", ("a TestClient that was not entered",)
    ),
    Case("lifespan_of_the_request", STATE, "lifespan-never-entered", ("a TestClient that was not entered",)),
    Case(
        "lifespan_under_httpx",
        STATE,
        "lifespan-never-entered",
        ("httpx's ASGITransport",),
        "lifespan_of_the_request",
    ),
    Case(
        "coroutine_used",
        "'coroutine' object has no attribute 'name'",
        "never-awaited",
        (
            "`provider_named()` (defined at vault/service.py:12)",
            "found = run(service.provider_named(async_session, 'a'))",
        ),
    ),
    Case(
        "coroutine_subscripted",
        "'coroutine' object is not subscriptable",
        "never-awaited",
        ("`provider_named()`",),
    ),
    Case(
        "coroutine_of_a_session",
        "'coroutine' object has no attribute 'scalars'",
        "never-awaited",
        ("of `AsyncSession.execute()`, which has not run", "result = run(async_session.execute(query))"),
    ),
    Case(
        "coroutine_of_a_local_function",
        "'coroutine' object has no attribute 'upper'",
        "never-awaited",
        ("`name()` (defined at tests/test_coroutines.py:", "found = run(name())"),
    ),
    Case(
        "coroutine_compared",
        "assert <coroutine object create at 0x.*> == 'a'",
        "never-awaited",
        ("`create()` (defined at vault/service.py:38)", 'result = run(service.create(async_session, "a"))'),
    ),
    Case(
        "never_awaited",
        "coroutine 'create' was never awaited",
        "never-awaited",
        ("vault/service.py:38",),
        None,
    ),
    Case(
        "commit_never_awaited",
        "coroutine 'AsyncSession.commit' was never awaited",
        "never-awaited",
        ("await session.commit(…)",),
        None,
    ),
    Case(
        "asynchronous",
        "async def functions are not natively supported",
        "async-def-tests",
        ("def test_asynchronous(run, async_session)",),
    ),
    Case(
        "asynchronous_fixture",
        "requested an async fixture 'asynchronous_fixture'",
        "async-def-tests",
        ("def asynchronous_fixture(run, async_session)",),
    ),
    Case(
        "generator_used",
        "'async_generator' object has no attribute 'add'",
        "async-def-tests",
        (
            "`get_session()` (defined at vault/main.py:",
            "async with asynccontextmanager(get_session)(…) as value:",
        ),
    ),
    Case(
        "generator_of_a_fixture",
        "'async_generator' object has no attribute 'add'",
        "async-def-tests",
        ("`get_session()` (defined at vault/main.py:", "def generated(run, async_session):"),
    ),
    Case(
        "create_all",
        "'AsyncEngine' object has no attribute '_run_ddl_visitor'",
        "asynchronous-engine-in-synchronous-code",
        ("run_sync(metadata.create_all)",),
    ),
    Case(
        "with_instead_of_async_with",
        "'AsyncConnection' object does not support the context manager protocol",
        "asynchronous-engine-in-synchronous-code",
        ("async with engine.connect()",),
    ),
    Case(
        "session_closed_by_a_generator",
        r"Method 'close\(\)' can't be called here; method '_connection_for_bind\(\)' is already in progress",
        "session-closed-in-the-middle",
        ("The generator that holds the session was closed meanwhile", "aclosing(rows())"),
    ),
    Case(
        "session_closed_by_its_block",
        r"Method 'close\(\)' can't be called here; method '_connection_for_bind\(\)' is already in progress",
        "session-closed-in-the-middle",
        ("waits for its connection", "cancelled or dropped", "asyncio.TaskGroup()"),
    ),
    Case(
        "session_closed_by_a_cancellation",
        r"Method 'close\(\)' can't be called here; method '_connection_for_bind\(\)' is already in progress",
        "session-closed-in-the-middle",
        ("The task was cancelled", "asyncio.TaskGroup()"),
    ),
    Case(
        "detached_in_the_background",
        "is not bound to a Session; lazy load operation",
        "detached-instance",
        ("background task", "await session.get(Provider, key)", "selectinload(Provider.connection)"),
    ),
    Case(
        "stale_plan",
        "cached statement plan is invalid|cached plan must not change result type",
        "prepared-statements",
        ("await engine.dispose()",),
        both=False,
    ),
    Case(
        "prepared_elsewhere",
        'prepared statement ".*" (?:already exists|does not exist)',
        "prepared-statements",
        ("pool_mode = session",),
        both=False,
    ),
    Case("too_many_connections", "too many connections for database", "too-many-connections", ("pool_size",)),
    Case(
        "multiple_commands",
        "cannot insert multiple commands into a prepared statement",
        "multiple-commands",
        ("driver_connection.execute(script)",),
    ),
    Case(
        "naive_and_aware",
        "can't subtract offset-naive and offset-aware datetimes",
        "naive-and-aware-datetimes",
        ("DateTime(timezone=True)",),
        both=False,
    ),
    Case(
        "cancel_scope",
        "Attempted to exit cancel scope in a different task than it was entered in",
        "cancel-scope-in-another-task",
        ("anyio.create_task_group()",),
    ),
    Case("bad_yield", "Task got bad yield: 'something'", "task-got-bad-yield", ("def anyio_backend()",)),
    Case(
        "scope_mismatch",
        "You tried to access the function scoped fixture narrow with a module scoped request object",
        "fixture-scopes",
        ('@pytest.fixture(scope="module")', "def wide(narrow)"),
        None,
    ),
)
