"""`MissingGreenlet`: a query outside of an awaited call, be it one that nobody wrote."""

from __future__ import annotations

import ast
from typing import Any, Final

from greenroom.diagnosis import fixes
from greenroom.diagnosis.attributes import UNKNOWN, Read
from greenroom.diagnosis.explanation import Explanation, Fix
from greenroom.explain.failure import Failure
from greenroom.explain.involved import engine_of
from greenroom.explain.reads import failed_read, origin_of, reads_attribute
from greenroom.explain.registry import recogniser
from greenroom.explain.written import calls
from greenroom.private.sqlalchemy import has_front

_WHY: Final = (
    "Reading an attribute cannot be awaited, and this driver is asynchronous: it queries only for what is awaited, such as "
    "`await session.execute(…)`."
)

_CALLED: Final = (
    "sqlalchemy/orm/session.py",
    "sqlalchemy/orm/scoping.py",
    "sqlalchemy/orm/query.py",
    "sqlalchemy/engine/base.py",
    "sqlalchemy/engine/result.py",
    "sqlalchemy/sql/schema.py",
    "sqlalchemy/sql/ddl.py",
    "sqlalchemy/pool/base.py",
)
"""Where what a user calls is."""


@recogniser("sqlalchemy.exc.MissingGreenlet", section="lazy-load", sqlalchemy=True)
def missing_greenlet(failure: Failure) -> Explanation:
    """A lazy load, an expired attribute, a deferred column, or a synchronous call on an asynchronous engine."""
    read = failed_read(failure)
    if read is not None:
        return _explain_read(read)
    return (None if reads_attribute(failure) else _synchronous(failure)) or Explanation(
        "MissingGreenlet: a query outside of an awaited call",
        "An attribute was read that was not loaded or had expired, or a synchronous call was made on an asynchronous engine."
        + ("" if failure.error else " A whole traceback, with SQLAlchemy's own frames, tells which."),
        "An asynchronous driver queries only for what is awaited, such as `await session.execute(…)`.",
        [
            ("load what is read with the query:", "select(Model).options(selectinload(Model.attribute))"),
            ("or before it is read:", 'await session.refresh(instance, attribute_names=["attribute"])'),
        ],
    )


def _explain_read(read: Read) -> Explanation:
    """What was read, and why that needed a query."""
    name = read.quoted
    here = fixes.awaited(read) if read.awaitable else fixes.refresh(read)
    said, section = " was read before it was loaded", "expired-attribute"
    match read.why:
        case "relationship":
            what = f"{name} is a relationship{read.of}, and it is not loaded, so reading it queries the database. {_origin(read)}"
            helps = (
                [here, fixes.at_construction(read)] if read.constructed else [fixes.in_the_query(read), here]
            )
            section = "lazy-load"
        case "deferred":
            what = (
                f"{name} is a column{read.of} that the query left out (deferred() in the model, or defer() or "
                f"load_only() in the query), so reading it queries the database. {_origin(read)}"
            )
            helps = [fixes.in_the_query(read), here]
            said, section = ", a deferred column, was read before it was loaded", "deferred-column"
        case "expired":
            what, helps = _expired(read, name)
            said = " was read after it had expired"
        case "void":
            when, what, helps = _void(read, name)
            said = f" was read {when}"
    subject = read.name if read.model != UNKNOWN else name if read.known else "an attribute"
    return Explanation(f"MissingGreenlet: {subject}{said}", what, _WHY, helps, section)


def _expired(read: Read, name: str) -> tuple[str, list[Fix]]:
    """What has expired the instance, and what helps."""
    session, refresh = read.session, _refresh(read)
    if session is not None and not session.expire_on_commit:
        what = (
            f"{read.identified} has expired, so reading {name} queries the database. It was not commit(): this session has "
            "expire_on_commit=False. rollback(), expire() and expire_all() expire, too."
        )
        return what, [refresh, ("or read what is needed before that:", f"value = {read.instance}.{read.key}")]
    if read.state is not None and read.key in read.state.mapper.relationships:
        what = (
            f"{read.identified} has expired, by commit() or rollback(), so reading the relationship {name} queries the "
            "database. So it would if it had never been loaded."
        )
        words, code = fixes.KEEP_AFTER_COMMIT
        return what, [refresh, (f"or, if it was loaded before the commit, {words}", code)]
    known = "this session has expire_on_commit=True, the default" if session is not None else "by default"
    instance = read.identified if read.model != UNKNOWN else "the instance"
    what = (
        f"{instance} has expired, so reading {name} queries the database. commit() expires all that a session has "
        f"loaded ({known}), and rollback() always does."
    )
    return what, [fixes.KEEP_AFTER_COMMIT, refresh]


def _void(read: Read, name: str) -> tuple[str, str, list[Fix]]:
    """When one attribute alone was read, why it is not there, and what helps.

    commit() and rollback() expire the whole instance, so expire_on_commit=False is no help here.
    """
    refresh = _refresh(read)
    if _generated(read):
        what = (
            f"The database generates {read.name}, and the last flush has changed the row, so the value that `{read.instance}` "
            "had is void and reading it queries the database."
        )
        eager = (
            "fetch such values with the UPDATE itself; in the model:",
            '__mapper_args__ = {"eager_defaults": True}',
        )
        return "after it had expired", what, [refresh, eager]
    when = "while it was not loaded"
    if base := _inherited(read):
        what = f"{name} of {read.identified} is a column of {read.model}'s own table, and the query for {base} has not loaded that table."
        polymorphic = (
            "load the subclasses' columns with the query:",
            f"from sqlalchemy.orm import selectin_polymorphic\n\nselect({base}).options(selectin_polymorphic({base}, [{read.model}]))",
        )
        return when, what, [polymorphic, refresh]
    what = (
        f"{name}{read.of} is not loaded, or a flush or expire() has made its value void, so reading it queries the "
        "database. The instance itself has not expired."
    )
    return when, what, [refresh]


def _refresh(read: Read) -> Fix:
    return fixes.refresh(read, "load it again before it is read:")


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
    if failure.error is None and (
        not first.within(*_CALLED) or failure.users is None or not calls(failure.users, first.function)
    ):
        # Frames are missing: it may be any other read.
        return None
    call = failure.users.quoted if failure.users else f"`{first.function}()`"
    if (engine := _mistaken_engine(failure)) is not None:
        return _wrong_engine(failure, engine, call)
    return Explanation(
        "MissingGreenlet: a synchronous call on an asynchronous engine",
        f"{call} calls SQLAlchemy's synchronous {first.code.co_qualname if first.code else first.function}(), which queries the "
        "database or connects to it.",
        "The engine's driver is asynchronous: it works only below an awaited call of AsyncSession, AsyncConnection or "
        "AsyncEngine, or in a function that run_sync() calls.",
        [
            ("await the asynchronous counterpart:", "await session.execute(…)  # session: AsyncSession"),
            ("or hand the synchronous code over:", "await session.run_sync(lambda session: …)"),
        ],
        "synchronous-call",
    )


def _wrong_engine(failure: Failure, engine: Any, call: str) -> Explanation:
    driver = engine.url.drivername
    origin = origin_of(failure, engine)
    asynchronous, synchronous = _engines_made(origin.value if origin else "create_engine(url)")
    return Explanation(
        f"MissingGreenlet: create_engine() has made a synchronous engine for {driver}",
        f"{call} uses an engine that create_engine() has made"
        + (f" (at {origin.where})" if origin else "")
        + f", and the driver of its URL, {driver}://…, is asynchronous.",
        "create_engine() takes any driver, and fails with an asynchronous one when it first connects.",
        [
            ("in asynchronous code, make an asynchronous engine:", asynchronous),
            ("in synchronous code (scripts, migrations), name a synchronous driver:", synchronous),
        ],
        "create-engine-on-an-asynchronous-url",
    )


def _engines_made(made: str) -> tuple[str, str]:
    """The code that makes the engine, corrected for asynchronous and for synchronous code.

    Args:
        made: What makes the mistaken one, such as `create_engine(settings.url, echo=True)`, or a function that does.
    """
    call = ast.parse(made, mode="eval").body
    own = isinstance(call, ast.Call) and ast.unparse(call.func).rpartition(".")[2] == "create_engine"
    if not (isinstance(call, ast.Call) and own and call.args):
        return _engines_made("create_engine(url)")
    url = ast.unparse(call.args[0])
    of_url = url if url.startswith("make_url(") else f"make_url({url})"
    driver = ast.Name(f'{of_url}.set(drivername="postgresql+psycopg")')
    return (
        ast.unparse(ast.Call(ast.Name("create_async_engine"), call.args, call.keywords)),
        ast.unparse(ast.Call(call.func, [driver, *call.args[1:]], call.keywords)),
    )


def _mistaken_engine(failure: Failure) -> Any:
    """The engine that create_engine() has made with an asynchronous driver, if that is what was used."""
    engine = engine_of(failure)
    if engine is None or not engine.dialect.is_async:
        return None
    return None if has_front(engine) else engine
