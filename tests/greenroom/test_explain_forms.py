"""The forms that people have a traceback in: of rich, structlog, loguru, Sentry, JSON formatters, older Pythons and pytest's styles.

The files in texts/ were printed by these libraries themselves, by one program: an attribute read after its session was closed.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console
from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, make_transient_to_detached, mapped_column, relationship

from greenroom.explain.pasted import explain_text
from tests.greenroom.test_explain_pasted import CHAIN, UNAWAITED, greenroom

TEXTS = sorted((Path(__file__).parent / "texts").glob("*.txt"))
DETACHED = "DetachedInstanceError: Item.owner was read after its session was closed"

PREFIXES = ("", "2026-11-23T03:00:00.1234567Z ", "api-1  | ", "[pod/api-5d4f/api] ")


@pytest.mark.parametrize("file", TEXTS, ids=[file.stem for file in TEXTS])
def test_printed_by_libraries(file: Path) -> None:
    """Each form is read, also with the prefixes of a log, below other lines and above others, and the error told once."""
    text = file.read_text()
    for prefix in PREFIXES if not text.startswith(("{\n", "[\n")) else ("",):
        lines = ["starting", *text.splitlines(), "INFO: done"]
        (explanation,) = explain_text("".join(f"{prefix}{line}\n" for line in lines))
        assert explanation.title == DETACHED
        assert explanation.where == "/srv/shop/forms.py:16"


def test_all_of_a_log() -> None:
    """A log with all of these forms, a chain and another error tells each error once, and says which and how many."""
    log = "\n".join([*(file.read_text() for file in TEXTS), CHAIN, UNAWAITED])
    found = explain_text(log)
    assert [(each.section, each.where) for each in found] == [
        ("detached-instance", "/srv/shop/forms.py:16"),
        ("running-event-loop", "/srv/app/tasks.py:11"),
        ("never-awaited", "/srv/app/tasks.py:21"),
    ]


def test_command_counts(tmp_path: Path) -> None:
    """The command numbers the errors of a text that has several."""
    done = greenroom(stdin=f"{CHAIN}\n{UNAWAITED}", cwd=tmp_path)
    assert done.stdout.startswith("error 1 of 2\n\n/srv/app/tasks.py:11: RuntimeError: ")
    assert "\n\nerror 2 of 2\n\n/srv/app/tasks.py:21: AttributeError: " in done.stdout


SENTRY = """\
MissingGreenlet: greenlet_spawn has not been called; can't call await_only() here. Was IO attempted in an unexpected place?
(3 additional frame(s) were not displayed)
...
  File "shop/api.py", line 37, in read_item
    return item.owner
  File "sqlalchemy/orm/attributes.py", line 566, in __get__
    return self.impl.get(state, dict_)
  File "sqlalchemy/orm/attributes.py", line 1086, in get
    value = self._fire_loader_callables(state, key, passive)
  File "sqlalchemy/orm/strategies.py", line 967, in _load_for_state
    return self._emit_lazyload(
  File "sqlalchemy/orm/strategies.py", line 1068, in _emit_lazyload
    return loading.load_on_pk_identity(
  File "sqlalchemy/util/_concurrency_py3k.py", line 123, in await_only
    raise exc.MissingGreenlet(

ValueError: another one
  File "shop/api.py", line 40, in other
    raise ValueError("another one")
"""

MARKDOWN = """\
**Type:** MissingGreenlet
**Value:** greenlet_spawn has not been called; can't call await_only() here. Was IO attempted in an unexpected place?

#### Stacktrace

```
 await_only in sqlalchemy/util/_concurrency_py3k.py [Line 123] (Not in app)
 _emit_lazyload in sqlalchemy/orm/strategies.py [Line 1068] (Not in app)
 _load_for_state in sqlalchemy/orm/strategies.py [Line 967] (Not in app)
 __get__ in sqlalchemy/orm/attributes.py [Line 566] (Not in app)
 read_item in shop/api.py [Line 37] (In app)
```
"""


def test_error_first() -> None:
    """Sentry's text has the error first and the frames after, without the folders that packages are in."""
    (explanation,) = explain_text(f"It says:\n\n{SENTRY}")
    assert explanation.title == "MissingGreenlet: `item.owner` was read before it was loaded"
    assert explanation.where == "shop/api.py:37"
    (explanation,) = explain_text(MARKDOWN)
    assert explanation.title == "MissingGreenlet: an attribute was read before it was loaded"
    assert explanation.where == "shop/api.py:37"


OLD = """\
Traceback (most recent call last):
  File "/app/shop/api.py", line 37, in read_item
    return {line}
  File "/venv/lib/python3.10/site-packages/sqlalchemy/orm/attributes.py", line 566, in __get__
    return self.impl.get(state, dict_)
  File "/venv/lib/python3.10/site-packages/sqlalchemy/orm/strategies.py", line 967, in _load_for_state
    return self._emit_lazyload(
  File "/venv/lib/python3.10/site-packages/sqlalchemy/orm/strategies.py", line 1068, in _emit_lazyload
    return loading.load_on_pk_identity(
sqlalchemy.exc.MissingGreenlet: greenlet_spawn has not been called; can't call await_only() here. Was IO attempted in an unexpected place?
"""


@pytest.mark.parametrize(
    ("line", "title", "said"),
    [
        ("item.owner", "`item.owner` was read", "`item.owner` is a relationship"),
        ("item.owner.name.upper()", "an attribute was read", "One of `item.owner` and `item.owner.name` is"),
        ("f'{item.owner.name}'", "an attribute was read", "One of `item.owner` and `item.owner.name` is"),
        ("Out(a.b, c.d)", "an attribute was read", "One of `a.b` and `c.d` is a relationship"),
        ("Out(owner=item.owner,", "an attribute was read", "`item.owner` or another of this statement's is"),
        ("getattr(item, name)", "an attribute was read", "An attribute of this line is a relationship"),
    ],
)
def test_without_marks(line: str, title: str, said: str) -> None:
    """Python 3.10 does not mark what failed in a line: where the line reads several attributes, all are named."""
    (explanation,) = explain_text(OLD.replace("{line}", line))
    assert title in explanation.title
    assert said in explanation.what
    if "an attribute" in title:
        assert "Model.attribute" in explanation.fixes[0][1]
        assert "stand for your names" in explanation.fixes[0][0]


def test_one_line() -> None:
    """With `--tb=line`, pytest prints where the error was raised and its text: it is explained in general."""
    line = "/venv/lib/python3.12/site-packages/sqlalchemy/util/concurrency.py:99: sqlalchemy.exc.MissingGreenlet: greenlet_spawn has not been called; can't call await_only() here."
    (explanation,) = explain_text(f"=== FAILURES ===\n{line}\n=== short test summary info ===\n")
    assert explanation.title == "MissingGreenlet: a query outside of an awaited call"
    assert explanation.where == ""


def test_wrapped_box() -> None:
    """In a narrow terminal rich breaks the places and the error's text, and crops the code."""

    class Base(DeclarativeBase): ...

    class Owner(Base):
        __tablename__ = "owners"
        id: Mapped[int] = mapped_column(primary_key=True)

    class Item(Base):
        __tablename__ = "items"
        id: Mapped[int] = mapped_column(primary_key=True)
        owner_id: Mapped[int] = mapped_column(ForeignKey("owners.id"))
        owner: Mapped[Owner] = relationship()

    item = Item(id=1)
    make_transient_to_detached(item)
    for width in (60, 80, 140):
        file = io.StringIO()
        try:
            print(item.owner)
        except Exception:  # noqa: BLE001 - what it is, is printed
            Console(width=width, file=file).print_exception(extra_lines=1)
        (explanation,) = explain_text(file.getvalue())
        assert explanation.title.startswith("DetachedInstanceError: Item.")
        assert explanation.where.endswith(f"{Path(__file__).name}:{_line()}")


def _line() -> int:
    lines = Path(__file__).read_text().splitlines()
    return lines.index("            print(item.owner)") + 1


def test_object_that_is_none() -> None:
    """Objects of JSON that hold no error, or a broken one, are no reason to stop."""
    for text in (
        '{"frames": 3}',
        '{"exc_type": "A"',
        "[1, 2]",
        "{",
        json.dumps({"exception": [{"exc_type": "A"}]}),
    ):
        assert explain_text(f"{text}\n{UNAWAITED}")[0].where == "/srv/app/tasks.py:21", text


NOTEBOOK = """\
---------------------------------------------------------------------------
MissingGreenlet                           Traceback (most recent call last)
Cell In[7], line 3
      1 async with new_session() as session:
      2     item = await session.get(Item, 1)
----> 3 print(item.owner)

File ~/shop/.venv/lib/python3.12/site-packages/sqlalchemy/orm/attributes.py:566, in InstrumentedAttribute.__get__(self, instance, owner)
    564     return dict_[self.key]
    565 else:
--> 566     return self.impl.get(state, dict_)

File ~/shop/.venv/lib/python3.12/site-packages/sqlalchemy/orm/strategies.py:967, in LazyLoader._load_for_state(self, state, passive)
    966 def _load_for_state(self, state, passive):
--> 967     return self._emit_lazyload(

File ~/shop/.venv/lib/python3.12/site-packages/sqlalchemy/orm/strategies.py:1068, in LazyLoader._emit_lazyload(self, session)
-> 1068     return loading.load_on_pk_identity(

File ~/shop/.venv/lib/python3.12/site-packages/sqlalchemy/util/_concurrency_py3k.py:123, in await_only(awaitable)
    121 if not isinstance(current, _AsyncIoGreenlet):
--> 123     raise exc.MissingGreenlet(
    124         "greenlet_spawn has not been called; can't call await_only() "

MissingGreenlet: greenlet_spawn has not been called; can't call await_only() here. Was IO attempted in an unexpected place?
"""

OLD_NOTEBOOK = """\
<ipython-input-2-0123456789ab> in <module>
      1 found = service.get(session)
----> 2 found.name

AttributeError: 'coroutine' object has no attribute 'name'
"""

SENTRYS_PAGE = """\
DetachedInstanceError
Parent instance <Item at 0x7f01> is not bound to a Session; lazy load operation of attribute 'owner' cannot proceed

/srv/shop/.venv/lib/python3.12/site-packages/sqlalchemy/orm/strategies.py in LazyLoader._load_for_state
at line 918

            raise orm_exc.DetachedInstanceError(

/srv/shop/api.py in read_item
at line 37

def read_item(item):
    return item.owner
"""


@pytest.mark.parametrize(
    ("text", "where", "title"),
    [
        (
            NOTEBOOK,
            "Cell In[7]:3",
            "MissingGreenlet: `item.owner` was read before it was loaded",
        ),
        (
            OLD_NOTEBOOK,
            "<ipython-input-2-0123456789ab>:2",
            "AttributeError: a coroutine was used before it was awaited",
        ),
    ],
)
def test_notebooks(text: str, where: str, title: str) -> None:
    """The forms of IPython, whose cells are no files: the line with the arrow is the one."""
    (explanation,) = explain_text(text)
    assert explanation.where == where
    assert explanation.title == title


def test_sentrys_page() -> None:
    """What is copied from Sentry's page has the line's number below, and some lines of the file; none of them is quoted."""
    (explanation,) = explain_text(SENTRYS_PAGE)
    assert explanation.title == DETACHED
    assert explanation.where == "/srv/shop/api.py:37"
    assert "def read_item" not in explanation.render()


MENTIONS = {
    "a field of a log": (
        (
            'time="2026-11-23" level=ERROR message="QueuePool limit of size 5 overflow 10 reached, connection timed out, timeout 30.00"\n'
            "Traceback (most recent call last):\n"
        ),
        "TimeoutError: all 15 connections of the pool are in use",
    ),
    "an answer": (
        "response: {'detail': 'QueuePool limit of size 1 overflow 0 reached, connection timed out, timeout 30.00 (Background …'}\n",
        "TimeoutError: the only connection of the pool is in use",
    ),
    "a sentence": (
        (
            "Since Monday we get `DetachedInstanceError: Parent instance <Item at 0x10e4fc4d0> is not bound to a Session; "
            "lazy load operation of attribute 'owner' cannot proceed`, why?\n"
        ),
        DETACHED,
    ),
    "a class as it is printed": (
        (
            "[error] <class 'sqlalchemy.orm.exc.DetachedInstanceError'>: Parent instance <Item at 0x7f01> is not bound to a Session; "
            "lazy load operation of attribute 'owner' cannot proceed, referer: …\n"
        ),
        DETACHED,
    ),
    "a greenlet": (
        "> sqlalchemy.exc.MissingGreenlet: greenlet_spawn has not been called; can't call await_only() here.\n".replace(
            "> ", "got: "
        ),
        "MissingGreenlet: a query outside of an awaited call",
    ),
    "a warning": (
        "we see `RuntimeWarning: coroutine 'send' was never awaited`\n",
        "RuntimeWarning: send() was called and never awaited",
    ),
    "a path of Windows": (
        "c:\\shop\\api.py:7: RuntimeWarning: coroutine 'send' was never awaited\n  send()\n",
        "RuntimeWarning: send() was called and never awaited",
    ),
    "a cut chain": (
        (
            'Traceback (most recent call last):\n  File "asyncpg/pgproto/./codecs/datetime.pyx", line 152, in timestamp_encode\n'
            "TypeError: can't subtract offset-naive and offset-aware datetimes\n\n"
            "The above exception was the direct cause of the following exception:\n\nTraceback (most recent call last):\n"
        ),
        "DataError: a datetime with a timezone for a column without one",
    ),
    "the error of a task": (
        (
            "RuntimeError: Task <Task pending name='Task-3'> got Future <Future pending> attached to a different loop\n"
            "Task exception was never retrieved\nfuture: <Task finished name='Task-4'>\n"
        ),
        "RuntimeError: something of one event loop was awaited on another",
    ),
    "a pooler": (
        '[ERROR] Raised exception: prepared statement "__asyncpg_stmt_1__" already exists\n',
        "a prepared statement is not this client's own",
    ),
    "a session of SQLAlchemy 1.3": (
        "InvalidRequestError: This Session's transaction has been rolled back due to a previous exception during flush. To begin …\n",
        "PendingRollbackError: the session has failed before, and was not rolled back",
    ),
    "an error in one line": (
        (
            "session.py\", line 601, in _assert_active PendingRollbackError: This Session's transaction has been rolled back due to a "
            "previous exception during flush. To begin …\n"
        ),
        "PendingRollbackError: the session has failed before, and was not rolled back",
    ),
    "a loop that runs": (
        "We get `RuntimeError: asyncio.run() cannot be called from a running event loop`, how to mend it?\n",
        "RuntimeError: a loop was started where one runs already",
    ),
    "a lock of Python 3.9": (
        (
            'Traceback (most recent call last):\n  File "/srv/shop/llm.py", line 24, in ask\n    await semaphore.acquire()\n'
            '  File "/usr/lib/python3.9/asyncio/locks.py", line 417, in acquire\n    await fut\n'
            "RuntimeError: Task <Task pending name='Task-3'> got Future <Future pending> attached to a different loop\n"
        ),
        "RuntimeError: a lock or a queue was used on two event loops",
    ),
    "a closed loop": (
        (
            "    def _check_closed(self):\n        if self._closed:\n>           raise RuntimeError('Event loop is closed')\n"
            "E           RuntimeError: Event loop is closed\n"
        ),
        "RuntimeError: an event loop was used after it was closed",
    ),
    "an asynchronous engine": (
        "**AttributeError: 'AsyncEngine' object has no attribute '_run_ddl_visitor'**\n",
        "AttributeError: an asynchronous engine in synchronous code",
    ),
    "a warning of SQLAlchemy 1.4": (
        "sys:1: SAWarning: The garbage collector is trying to clean up connection <AdaptedConnection <Connection(Thread-11)>>. This …\n",
        "SAWarning: a session or connection was forgotten instead of closed",
    ),
    "a synchronous session's method": (
        (
            'Traceback (most recent call last):\n  File "/srv/shop/api.py", line 7, in get\n    session.query(Item)\n'
            "AttributeError: 'AsyncSession' object has no attribute 'query'\n"
        ),
        "AttributeError: AsyncSession has no query()",
    ),
}


@pytest.mark.parametrize(("text", "title"), MENTIONS.values(), ids=MENTIONS.keys())
def test_mentioned(text: str, title: str) -> None:
    """An error that stands in the middle of a line, or whose end is cut off, is explained as far as the text tells."""
    (explanation,) = explain_text(text)
    assert explanation.title == title


def test_mentioned_beside_others() -> None:
    """Where a text has an error in a form of its own, what else it mentions is not told."""
    (explanation,) = explain_text(f"{OLD_NOTEBOOK}\nsee also: coroutine 'send' was never awaited\n")
    assert explanation.section == "never-awaited"
    assert explanation.where
