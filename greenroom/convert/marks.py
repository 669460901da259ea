"""The marks and settings of the plugins for asynchronous tests."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

import libcst as cst

from greenroom.convert.modules import Function, Module
from greenroom.convert.nodes import called, dotted_of, walk
from greenroom.convert.suite import Suite

MARKS: Final = {
    "pytest.mark.asyncio",
    "pytest.mark.anyio",
    "pytest.mark.asyncio_cooperative",
    "pytest.mark.trio",
}

FIXTURES: Final = {
    "event_loop",
    "event_loop_policy",
    "anyio_backend",
    "anyio_backend_name",
    "anyio_backend_options",
}
"""The fixtures with which a suite chooses its loop."""


def is_mark(expression: cst.BaseExpression, module: Module) -> bool:
    """Whether it is a mark of an asynchronous test, with or without arguments."""
    return module.qualified(called(expression)) in MARKS


def is_on_trio(function: Function, suite: Suite) -> bool:
    """Whether anyio runs a function's tests with trio, too."""
    if module_mark(function) != "pytest.mark.anyio":
        return False
    backend = suite.fixture("anyio_backend", function)
    if backend is None:
        return find_spec("trio") is not None  # anyio's own has all backends that are installed
    return any(isinstance(each, cst.SimpleString) and "trio" in each.value for each in walk(backend.node))


def module_mark(function: Function) -> str:
    """The mark that makes a test run: of its own, of its class or of its module."""
    module = function.module
    places = [each.decorator for each in function.node.decorators]
    if function.owner is not None:
        places += [each.decorator for each in function.owner.decorators]
    for statement in module.tree.body:
        for each in statement.body if isinstance(statement, cst.SimpleStatementLine) else ():
            if isinstance(each, cst.Assign) and dotted_of(each.targets[0].target) == "pytestmark":
                value = each.value
                elements = (
                    [e.value for e in value.elements] if isinstance(value, cst.List | cst.Tuple) else [value]
                )
                places += elements
    return next((module.qualified(called(each)) for each in places if is_mark(each, module)), "")
