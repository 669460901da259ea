"""`MissingGreenlet`: a query outside of an awaited call, be it one that nobody wrote."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any, Final

from greenroom.explain import fixes
from greenroom.explain.explanation import Explanation
from greenroom.explain.orm import Read, identified, origin_of, read_of, reads_attribute
from greenroom.explain.places import engine_of

if TYPE_CHECKING:
    from greenroom.explain.failure import Failure

_WHY: Final = (
    "Reading an attribute cannot be awaited, and this driver is asynchronous: it queries only for what is awaited, such as "
    "`await session.execute(…)`."
)


def missing_greenlet(failure: Failure) -> Explanation | None:
    """A lazy load, an expired attribute, a deferred column, or a synchronous call on an asynchronous engine."""
    if not failure.of("sqlalchemy.exc.MissingGreenlet") or not failure.in_sqlalchemy:
        return None
    read = read_of(failure)
    if read is not None:
        return explained(read)
    return (
        _without_frames(failure)
        if reads_attribute(failure)
        else _synchronous(failure) or _without_frames(failure)
    )


def _without_frames(failure: Failure) -> Explanation:
    """What is to be said if the frames do not tell what was read, or what was called."""
    return Explanation(
        "MissingGreenlet: a query outside of an awaited call",
        "An attribute was read that was not loaded or had expired, or a synchronous call was made on an asynchronous engine."
        + ("" if failure.error else " A whole traceback, with SQLAlchemy's own frames, tells which."),
        "An asynchronous driver queries only for what is awaited, such as `await session.execute(…)`.",
        [
            ("load what is read with the query:", "select(Model).options(selectinload(Model.attribute))"),
            ("or before it is read:", 'await session.refresh(instance, attribute_names=["attribute"])'),
        ],
        "docs/faq.md#lazy-load",
        failure.where,
    )


def explained(read: Read) -> Explanation:
    """What was read, and why that needed a query."""
    where = read.frame.where if read.frame else ""
    match read.why:
        case "relationship":
            return Explanation(
                f"MissingGreenlet: {_subject(read)} was read before it was loaded",
                f"`{read.owner}.{read.key}` is a relationship of {identified(read)}, and it is not loaded, so reading it "
                f"queries the database. {_origin(read)}",
                _WHY,
                _relationship_fixes(read),
                "docs/faq.md#lazy-load",
                where,
            )
        case "deferred":
            return Explanation(
                f"MissingGreenlet: {_subject(read)}, a deferred column, was read before it was loaded",
                f"`{read.owner}.{read.key}` is a column of {identified(read)} that the query left out (deferred() in the "
                f"model, or defer() or load_only() in the query), so reading it queries the database. {_origin(read)}",
                _WHY,
                [fixes.in_the_query(read), fixes.awaited(read) if read.awaitable else fixes.refresh(read)],
                "docs/faq.md#deferred-column",
                where,
            )
        case "expired":
            return _expired(read, where)


def _expired(read: Read, where: str) -> Explanation:
    session, state = read.session, read.state
    refresh = fixes.refresh(read, "load it again before it is read:")
    when = "after it had expired"
    if state is not None and not state.expired and _generated(read):
        what = (
            f"The database generates {read.name}, and the last flush has changed the row, so the value that "
            f"`{read.owner}` had is void and reading it queries the database."
        )
        eager = (
            "fetch such values with the UPDATE itself; in the model:",
            '__mapper_args__ = {"eager_defaults": True}',
        )
        helps = [refresh, eager]
    elif state is not None and not state.expired and (base := _inherited(read)):
        what = (
            f"`{read.owner}.{read.key}` of {identified(read)} is a column of {read.model}'s own table, and the query for "
            f"{base} has not loaded that table."
        )
        polymorphic = (
            "load the subclasses' columns with the query:",
            f"from sqlalchemy.orm import selectin_polymorphic\n\nselect({base}).options(selectin_polymorphic({base}, [{read.model}]))",
        )
        helps, when = [polymorphic, refresh], "while it was not loaded"
    elif state is not None and not state.expired:
        # One attribute only. commit() and rollback() expire the whole instance: expire_on_commit=False is no help here.
        what = (
            f"`{read.owner}.{read.key}` of {identified(read)} is not loaded, or a flush or expire() has made its value void, so "
            "reading it queries the database. The instance itself has not expired."
        )
        helps, when = [refresh], "while it was not loaded"
    elif session is not None and not session.expire_on_commit:
        what = (
            f"{identified(read)} has expired, so reading `{read.owner}.{read.key}` queries the database. It was not commit(): "
            f"this session has expire_on_commit=False. rollback(), expire() and expire_all() expire, too."
        )
        helps = [refresh, ("or read what is needed before that:", f"value = {read.owner}.{read.key}")]
    elif state is not None and read.key in state.mapper.relationships:
        what = (
            f"{identified(read)} has expired, by commit() or rollback(), so reading the relationship `{read.owner}.{read.key}` "
            "queries the database. So it would if it had never been loaded."
        )
        keep = fixes.keep_after_commit()
        helps = [refresh, (f"or, if it was loaded before the commit, {keep[0]}", keep[1])]
    else:
        known = "this session has expire_on_commit=True, the default" if session is not None else "by default"
        what = (
            f"{identified(read)} has expired, so reading `{read.owner}.{read.key}` queries the database. commit() expires "
            f"all that a session has loaded ({known}), and rollback() always does."
        )
        helps = [fixes.keep_after_commit(), refresh]
    return Explanation(
        f"MissingGreenlet: {_subject(read)} was read {when}",
        what,
        _WHY,
        helps,
        "docs/faq.md#expired-attribute",
        where,
    )


def _relationship_fixes(read: Read) -> list[fixes.Fix]:
    here = fixes.awaited(read) if read.awaitable else fixes.refresh(read)
    if read.constructed:
        return [here, fixes.at_construction(read)]
    return [fixes.in_the_query(read), here]


def _subject(read: Read) -> str:
    return (
        read.name
        if read.state is not None
        else f"`{read.owner}.{read.key}`"
        if read.known
        else "an attribute"
    )


def _origin(read: Read) -> str:
    if read.constructed:
        made = f" (made at {read.origin.where})" if read.origin else ""
        return f"It was made by its constructor{made} and written, not queried: nothing has loaded its relationships."
    if read.origin:
        return f"The instance comes from {read.origin.where}, `{read.origin.value}`, which does not load it."
    return ""


def _inherited(read: Read) -> str:
    """The base class that an instance was queried as, if the attribute is a column of its subclass's own table."""
    mapper = read.state.mapper
    attribute = mapper.column_attrs.get(read.key)
    if mapper.inherits is None or mapper.local_table is mapper.inherits.local_table or attribute is None:
        return ""
    own = all(getattr(column, "table", None) is mapper.local_table for column in attribute.columns)
    return mapper.base_mapper.class_.__name__ if own else ""


def _generated(read: Read) -> bool:
    columns = getattr(read.state.mapper.attrs[read.key], "columns", [])
    return any(
        # A column_property() of an SQL expression has a Label here, which has none of these.
        getattr(column, name, None) is not None
        for column in columns
        for name in ("onupdate", "server_onupdate", "server_default")
    )


def _synchronous(failure: Failure) -> Explanation | None:
    """A call of SQLAlchemy's synchronous API, named by the first function that it led into."""
    first = next((frame for frame in failure.after_users if frame.of_sqlalchemy), None)
    if first is None:
        return None
    users = failure.users
    call = users.call if users else first.function
    if (engine := _engine_of_mistake(failure)) is not None:
        return _wrong_engine(failure, engine, call)
    function = first.code.co_qualname if first.code and hasattr(first.code, "co_qualname") else first.function
    return Explanation(
        "MissingGreenlet: a synchronous call on an asynchronous engine",
        f"`{call}` calls SQLAlchemy's synchronous {function}(), which queries the database or connects to it.",
        "The engine's driver is asynchronous: it works only below an awaited call of AsyncSession, AsyncConnection or "
        "AsyncEngine, or in a function that run_sync() calls.",
        [
            ("await the asynchronous counterpart:", "await session.execute(…)  # session: AsyncSession"),
            ("or hand the synchronous code over:", "await session.run_sync(lambda session: …)"),
        ],
        "docs/faq.md#synchronous-call",
        failure.where,
    )


def _wrong_engine(failure: Failure, engine: Any, call: str) -> Explanation:
    driver = engine.url.drivername
    origin = origin_of(failure, engine)
    asynchronous, synchronous = _engines_made(origin.value if origin else "")
    return Explanation(
        f"MissingGreenlet: create_engine() has made a synchronous engine for {driver}",
        f"`{call}` uses an engine that create_engine() has made"
        + (f" (at {origin.where})" if origin else "")
        + f", and the driver of its URL, {driver}://…, is asynchronous.",
        "create_engine() takes any driver, and fails with an asynchronous one when it first connects.",
        [
            (
                "in asynchronous code, make an asynchronous engine:",
                asynchronous,
            ),
            (
                "in synchronous code (scripts, migrations), name a synchronous driver:",
                synchronous,
            ),
        ],
        "docs/faq.md#create-engine-on-an-asynchronous-url",
        failure.where,
    )


def _engines_made(made: str) -> tuple[str, str]:
    """The code that makes the engine, corrected for asynchronous and for synchronous code.

    Args:
        made: What makes the mistaken one, such as `create_engine(settings.url, echo=True)`; empty if that is not known.
    """
    try:
        call = ast.parse(made, mode="eval").body
    except SyntaxError:
        call = None
    if not (
        isinstance(call, ast.Call)
        and call.args
        and ast.unparse(call.func).rpartition(".")[2] == "create_engine"
    ):
        call = ast.Call(ast.Name("create_engine"), [ast.Name("url")], [])
    url = ast.unparse(call.args[0])
    of_url = url if url.startswith("make_url(") else f"make_url({url})"
    driver = ast.Name(f'{of_url}.set(drivername="postgresql+psycopg")')
    return (
        ast.unparse(ast.Call(ast.Name("create_async_engine"), call.args, call.keywords)),
        ast.unparse(ast.Call(call.func, [driver, *call.args[1:]], call.keywords)),
    )


def _engine_of_mistake(failure: Failure) -> Any:
    """The engine that create_engine() has made with an asynchronous driver, if that is what was used."""
    engine = engine_of(failure)
    if engine is None or not engine.dialect.is_async:
        return None
    try:
        from sqlalchemy.ext.asyncio import AsyncEngine
    except ImportError:  # 2.1 without greenlet
        return None
    # Engines made by create_async_engine() are known by their front.
    return None if AsyncEngine._retrieve_proxy_for_target(engine, regenerate=False) else engine  # noqa: SLF001
