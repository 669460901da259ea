"""`greenroom explain`: tracebacks as text, of a terminal, of CI and of production."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from greenroom.explain.pasted import explain_text
from tests.greenroom import forked
from tests.greenroom.explained import line_of, run
from tests.greenroom.explained_cases import CASES

PASTED = {
    "lazy_relationship": "`provider.connection` was read before it was loaded",
    "expired_by_commit": "`provider.name` was read after it had expired",
    "deferred_column": "`provider.notes`, a deferred column, was read before it was loaded",
    "detached_relationship": "Provider.connection was read after its session was closed",
    "event_loop_is_closed": "a connection was used after its event loop was closed",
    "pending_rollback": "the session has failed before, and was not rolled back",
    "failed_transaction": "an earlier statement of this transaction failed",
    "queuepool_limit": "the only connection of the pool is in use",
    "lifespan_of_the_application": "state.greeting is missing: has the lifespan run?",
    "lifespan_under_httpx": "state.farewell is missing, since the application's lifespan has not run",
    "coroutine_of_a_session": "a coroutine was used before it was awaited",
    "coroutine_compared": "a coroutine was compared before it was awaited",
    "validated_by_pydantic": "pydantic read an attribute before it was loaded (MissingGreenlet)",
}

LINES = {
    case.name: line_of(case.here or case.name)
    for case in CASES
    if case.name in PASTED and case.here is not None
}


PREFIXES = {
    "as it is": "",
    "GitHub": "2026-11-23T03:00:00.1234567Z ",
    "gh run view": "test\tRun the suite\t2026-11-23T03:00:00.1234567Z ",
    "gh run view, a matrix": "embedded, Python 3.13 / suite\tRun make test\t2026-11-23T03:00:00.1234567Z ",
    "gh run view, a reusable workflow": "docker / shard 1/4 (3.12)\tUNKNOWN STEP\t2026-11-23T03:00:00.1234567Z ",
    "GitLab": "2026-11-23T03:00:00.123456Z 01E ",
    "Compose": "tests-1  | ",
    "Compose on GitHub": "2026-11-23T03:00:00.1234567Z tests-1  | ",
    "Kubernetes": "2026-11-23T03:00:00.123456789Z stderr F ",
    "kubectl": "[pod/api-5d4f/api] ",
    "an indented block": "    ",
}


@pytest.mark.parametrize("style", ["short", "long", "native"])
def test_styles(
    style: str,
    server_url: str,
    clean_environment: None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Each error is explained at the user's own line, whatever style pytest has, and whatever CI puts before the lines."""
    monkeypatch.setenv("GREENROOM_SERVER_URL", server_url)
    only = " or ".join(f"test_{name}" for name in PASTED)
    arguments = ("-p", "no:greenroom-explaining", f"--tb={style}", "--show-capture=no", "--color=yes")
    printed = run(tmp_path / "explained", "asyncpg", "-k", only, *arguments).stdout
    for where, prefix in PREFIXES.items():
        text = "".join(f"{prefix}{line}\n" for line in printed.splitlines())
        found = [(explanation.title, explanation.where) for explanation in explain_text(text)]
        for name, title in PASTED.items():
            lines = [line for said, line in found if title in said and line.endswith(LINES[name])]
            assert lines, (where, name, found)


def raised() -> BaseException:
    """An exception group, with a known error in it."""

    async def work() -> None:
        coroutine = asyncio.sleep(0)
        try:
            asyncio.run(coroutine)
        finally:
            coroutine.close()

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(work())

    with pytest.raises(ExceptionGroup) as group:
        asyncio.run(main())
    return group.value


def test_group() -> None:
    """The frames and the error inside of a group's lines are read."""
    text = "ERROR:    Exception in ASGI application\n" + "".join(traceback.format_exception(raised()))
    (explanation,) = explain_text(text)
    assert explanation.title.startswith("RuntimeError: a loop was started")
    assert re.search(r"test_explain_pasted\.py:\d+$", explanation.where)


def prefixed(prefix: str) -> Callable[[str], str]:
    """Puts a prefix before each line."""
    return lambda text: "".join(f"{prefix}{line}\n" for line in text.splitlines())


def counted(text: str) -> str:
    """Each line at a time of its own, as systemd's journal has it, and without spaces at its end."""
    return "".join(
        f"Nov 23 03:00:{second:02} api-1 uvicorn[815]: {line}".rstrip() + "\n"
        for second, line in enumerate(text.splitlines())
    )


def logged(text: str) -> str:
    """A log of JSON objects, such as structlog's and Google's, with others around it."""
    event = json.dumps({"event": 'failed in "get"', "exception": text, "level": "error"})
    return f'{{"event": "before"}}\n{event}\n{{"event": "Exception: after"}}\n'


def told(text: str) -> list[tuple[str, str, str]]:
    """The explanations of a text, without what they advise."""
    return [
        (explanation.title, explanation.what, explanation.where.rpartition("/")[2])
        for explanation in explain_text(text)
    ]


FORMS: dict[str, Callable[[str], str]] = {
    "a log that goes on": lambda text: f"{text}INFO:     Shutting down\n",
    "a log with times": lambda text: f"{text}2026-11-23 03:00:00,123 shutting down\n",
    "a log of JSON": lambda text: f'{text}{{"event": "shutting down"}}\n',
    "the journal": counted,
    "stern": prefixed("api-5d4f › api "),
    "YAML": lambda text: f"logs:\n  - log: |\n{prefixed(' ' * 6)(text)}status: failed\n",
    "Markdown's quote": lambda text: f"It says:\n\n{prefixed('> ')(text)}\nWhat is that?\n",
    "only the first line has it": lambda text: f"2026-11-23 03:00:00,123 ERROR app {text}",
    "JSON": logged,
    "JSON in JSON": lambda text: json.dumps({"log": logged(text), "stream": "stderr"}) + "\n",
    "JSON on GitHub": lambda text: prefixed("2026-11-23T03:00:00.1234567Z ")(logged(text)),
    "Python's repr": lambda text: f"exception={text!r} level='error'\n",
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_forms(form: Callable[[str], str]) -> None:
    """Python's own traceback is read whatever stands before its lines, and as a string in a log: it says the same."""
    group = "".join(traceback.format_exception(raised()))
    for text in (GREENLET, CHAIN, UNAWAITED, group):
        assert len(told(text)) == 1
        assert told(form(text)) == told(text), form(text)
    # One after the other, each with what was around it.
    assert told(form(CHAIN) + GREENLET + form(group)) == [*told(CHAIN), *told(GREENLET), *told(group)]


def greenroom(*arguments: str, stdin: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run `greenroom explain`."""
    return subprocess.run(
        [*forked.command("greenroom"), "explain", *arguments],
        cwd=cwd,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_command(tmp_path: Path) -> None:
    """The command reads stdin or a file, anywhere, and prints the explanation and nothing else."""
    text = "".join(traceback.format_exception(raised()))
    done = greenroom(stdin=text, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "more: docs/faq.md#" in done.stdout
    assert done.stderr == ""
    (tmp_path / "log").write_text(text)
    assert greenroom("log", stdin="", cwd=tmp_path).stdout == done.stdout


def test_command_finds_nothing(tmp_path: Path) -> None:
    """A text without a known error says so, and so does a file that is not there: 1 for what was not found, 2 for what could not be done."""
    done = greenroom(stdin="3 passed in 0.1 s\n", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "This text contains no error that greenroom knows." in done.stderr
    missing = greenroom("nothing.txt", stdin="", cwd=tmp_path)
    assert missing.returncode == 2
    assert "nothing.txt cannot be read: No such file or directory." in missing.stderr


def test_section_of_the_page(tmp_path: Path) -> None:
    """`--about` prints what the documentation says about an error, anywhere; a section that is not there is named with those that are."""
    done = greenroom("--about", "lazy-load", stdin="", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("## Lazy load\n\n```text\nsqlalchemy.exc.MissingGreenlet: ")
    assert "## Expired attribute" not in done.stdout
    assert "<!--" not in done.stdout
    unknown = greenroom("--about", "lazy", stdin="", cwd=tmp_path)
    assert unknown.returncode == 2
    assert "docs/faq.md has no section 'lazy'. Its sections: lazy-load, expired-attribute, " in unknown.stderr
    assert "→ greenroom explain --about lazy-load" in unknown.stderr


GREENLET = """\
Traceback (most recent call last):
  File "/srv/app/database.py", line 3, in <module>
    from sqlalchemy.ext.asyncio import create_async_engine
  File "/usr/lib/python3.13/site-packages/sqlalchemy/ext/asyncio/__init__.py", line 10, in <module>
    from .engine import async_engine_from_config as async_engine_from_config
ImportError: The SQLAlchemy asyncio module requires that the Python 'greenlet' library is installed.  In order to ensure this dependency is available, use the 'sqlalchemy[asyncio]' install target:  'pip install sqlalchemy[asyncio]'
"""


UNAWAITED = """\
Traceback (most recent call last):
  File "/srv/app/tasks.py", line 21, in names
    return session.scalars(query).all()
           ^^^^^^^^^^^^^^^^^^^^^^^^^^
AttributeError: 'coroutine' object has no attribute 'all'
"""

CHAIN = """\
Traceback (most recent call last):
  File "/srv/app/tasks.py", line 8, in run
    job()
LookupError: it's "unknown"

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/srv/app/tasks.py", line 11, in run
    asyncio.run(notify())
    ~~~~~~~~~~~^^^^^^^^^^
  File "/usr/lib/python3.13/asyncio/runners.py", line 191, in run
    raise RuntimeError(
        "asyncio.run() cannot be called from a running event loop")
RuntimeError: asyncio.run() cannot be called from a running event loop
"""


def test_greenlet_is_not_installed(tmp_path: Path) -> None:
    """Without greenlet, SQLAlchemy's own import fails, and that text is explained: the pasted one, and the real one."""
    (tmp_path / "greenlet.py").write_text("raise ImportError('no greenlet here')\n")
    program = "from sqlalchemy.ext.asyncio import create_async_engine\ncreate_async_engine('postgresql+asyncpg://')\n"
    (tmp_path / "database.py").write_text(program)
    done = subprocess.run(
        [sys.executable, "database.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    for text in (GREENLET, done.stderr):
        (explanation,) = explain_text(text)
        assert explanation.title == "greenlet is not installed"
        assert re.search(r"database\.py:\d$", explanation.where)
