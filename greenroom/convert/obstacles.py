"""Why a test, a fixture or a setup stays asynchronous, as far as it itself goes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import libcst as cst

from greenroom.convert.marks import is_on_trio
from greenroom.convert.modules import Function
from greenroom.convert.nodes import bound_by, called, dotted_of, used_by
from greenroom.convert.regions import Regions
from greenroom.convert.suite import Suite

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
    names = used_by(node.body)
    if "run" in bound_by(node.body) or ("run" in names and "run" not in function.parameters):
        yield node, "it has another `run` than greenroom's fixture"
    run = suite.fixture("run", function)
    if run is not None:
        place = f"{run.module.path.name}:{run.module.line(run.node)}"
        yield node, f"the suite has a fixture `run` of its own: {place}"
