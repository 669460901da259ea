"""A session of SQLAlchemy's own class where the code wants what a library's or the project's own class has."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from greenroom.diagnosis.explanation import Explanation
from greenroom.explain.failure import Failure
from greenroom.explain.registry import recogniser

_SQLMODELS = "exec"


@recogniser(
    "AttributeError",
    says=r"^'(AsyncSession|Session)' object has no attribute '(\w+)'$",
    section="session-class",
)
def session_class(failure: Failure) -> Explanation | None:
    """`'AsyncSession' object has no attribute 'exec'`."""
    kind, name = failure.said.groups()
    if (kind, name) == ("AsyncSession", "query") and not failure.raised_by_hand:
        return Explanation(
            "AttributeError: AsyncSession has no query()",
            f"{failure.quoted} calls `query()`, which a synchronous Session has, and an AsyncSession has not.",
            "query() sends its statement when the result is read, where nothing can be awaited.",
            [
                (
                    "make the query with select(), and await it:",
                    "await session.scalars(select(Model).where(…))",
                ),
                (
                    "or run code that needs query() on the synchronous side:",
                    "await session.run_sync(function)",
                ),
            ],
        )
    if failure.raised_by_hand or (failure.error is None and name != _SQLMODELS):
        return None
    classes = (
        list(_with(name, kind, getattr(failure.error, "obj", None))) if failure.error is not None else []
    )
    if failure.error is not None and not classes:
        return None
    has = (
        f"{classes[0].__module__}.{classes[0].__qualname__} has it"
        if classes
        else "SQLModel's sessions have it"
    )
    of = classes[0].__name__ if classes else kind
    module = (
        classes[0].__module__
        if classes
        else f"sqlmodel{'.ext.asyncio.session' if kind == 'AsyncSession' else ''}"
    )
    maker = "async_sessionmaker" if kind == "AsyncSession" else "sessionmaker"
    fixes = [
        (
            "have the factory make sessions of that class:",
            f"from {module} import {of}\n\nnew_session = {maker}(engine, class_={of})",
        )
    ]
    if kind == "AsyncSession":
        # What the fixture `session` is of is found by itself only.
        words = "or, for greenroom's fixture `async_session`, name the project's own factory:"
        fixes.append((words, '[tool.greenroom]\nsession_factory = "package.module:new_session"'))
    return Explanation(
        f"AttributeError: {kind} is SQLAlchemy's own class here, which has no {name}()",
        f"{failure.quoted} needs a session that has `{name}`: {has}, and SQLAlchemy's {kind} has not.",
        "A factory makes sessions of SQLAlchemy's class unless it is told another one. Greenroom's fixtures are of the class that the "
        "project's factories make, where that is one.",
        fixes,
    )


def _with(name: str, kind: str, obj: Any) -> Iterator[type]:
    """The subclasses of the class of a session that have an attribute, the project's own and those of libraries."""
    module = sys.modules.get("sqlalchemy.ext.asyncio" if kind == "AsyncSession" else "sqlalchemy.orm")
    base = getattr(module, kind, None)
    # A factory makes a subclass of the same name, without anything in it.
    if base is None or not issubclass(type(obj), base):
        return
    waiting = list(base.__subclasses__())
    while waiting:
        found = waiting.pop(0)
        waiting += found.__subclasses__()
        if hasattr(found, name):
            yield found
