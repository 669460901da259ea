"""Why a test, a fixture or a setup stays asynchronous, as far as it itself goes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import libcst as cst

from greenroom.convert.planning.regions import Regions
from greenroom.convert.reading.marks import is_on_trio, marks_of
from greenroom.convert.reading.modules import Function
from greenroom.convert.reading.nodes import bound_by, called, dotted_of, own, text_of, used_by, walk
from greenroom.convert.reading.suite import Suite

_DECORATORS: Final = (
    "pytest", "pytest_asyncio", "unittest", "mock", "freezegun", "time_machine", "respx", "hypothesis", "vcr", "anyio", "functools",
    "contextlib", "typing", "responses",
)  # fmt: skip
"""The packages whose decorators take synchronous functions as well as asynchronous ones."""

_BUILT_IN: Final = ("staticmethod", "classmethod")


def obstacles(function: Function, suite: Suite, regions: Regions) -> Iterator[tuple[cst.CSTNode, str]]:
    """What keeps a function asynchronous: where, and why.

    Args:
        function: The function.
        suite: The suite.
        regions: What in it has to stay on the loop.
    """
    node, module = function.node, function.module
    if function.owner is not None and module.is_testcase(function.owner):
        yield node, "unittest's own loop runs it"
    if function.role == "setup":
        yield (
            node,
            "pytest gives a setup method no fixtures, so it cannot have `run`: make it a fixture with autouse=True",
        )
    if is_on_trio(function, suite):
        yield node, "anyio runs it with trio as well"
    for each in node.decorators:
        name = dotted_of(called(each.decorator))
        if name not in _BUILT_IN and suite.decorator(each, module).partition(".")[0] not in _DECORATORS:
            yield each, f"its decorator {name or '…'} may expect a coroutine function"
    if regions.reason:
        yield node, regions.reason
    if not _awaits(node):
        return
    given = used_by(node.body) if "run" not in function.parameters else _parametrized(function)
    if "run" in given | bound_by(node.body):
        yield node, "it has another `run` than greenroom's fixture"
    run = suite.fixture("run", function)
    if run is not None:
        place = f"{run.module.path.name}:{run.module.line(run.node)}"
        yield node, f"the suite has a fixture `run` of its own: {place}"


def _awaits(node: cst.FunctionDef) -> bool:
    """Whether a function itself does anything asynchronous."""
    for each in own(node):
        match each:
            case cst.Await():
                return True
            case cst.With() | cst.For() | cst.CompFor() if each.asynchronous is not None:
                return True
    return False


def _parametrized(function: Function) -> set[str]:
    """The parameters that a test's marks give values, and not fixtures."""
    found: set[str] = set()
    for mark in marks_of(function):
        match mark:
            case cst.Call(args=[cst.Arg(value=names), *_]) if (
                function.module.qualified(mark.func) == "pytest.mark.parametrize"
            ):
                texts = [text_of(each) for each in walk(names) if isinstance(each, cst.SimpleString)]
                found.update(name.strip() for each in texts for name in each.split(","))
    return found
