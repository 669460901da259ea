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
