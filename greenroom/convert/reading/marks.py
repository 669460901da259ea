"""The marks and settings of the plugins for asynchronous tests."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

import libcst as cst

from greenroom.convert.reading.modules import Function, Module
from greenroom.convert.reading.nodes import called, dotted_of, text_of, walk
from greenroom.convert.reading.suite import Suite

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
    """Whether it is a mark of an asynchronous test, with or without arguments, or a variable of the module that is one."""
    known = module.assigned.get(dotted_of(expression), expression)
    return module.qualified(called(known)) in MARKS


def is_backend(expression: cst.BaseExpression, module: Module) -> bool:
    """Whether it is `pytest.mark.parametrize("anyio_backend", …)`."""
    match expression:
        case cst.Call(args=[cst.Arg(value=name), *_]):
            return (
                module.qualified(expression.func) == "pytest.mark.parametrize"
                and text_of(name) == "anyio_backend"
            )
    return False


def is_on_trio(function: Function, suite: Suite) -> bool:
    """Whether anyio runs a function's tests with trio, too."""
    marks = marks_of(function)
    if not any(function.module.qualified(called(each)) == "pytest.mark.anyio" for each in marks):
        return False
    if chosen := [each for each in marks if is_backend(each, function.module)]:
        return any(_names_trio(each) for each in chosen)
    backend = suite.fixture("anyio_backend", function)
    if backend is None:
        return find_spec("trio") is not None  # anyio's own has all backends that are installed
    return _names_trio(backend.node)


def _names_trio(node: cst.CSTNode) -> bool:
    return any(isinstance(each, cst.SimpleString) and "trio" in each.value for each in walk(node))


def marks_of(function: Function) -> list[cst.BaseExpression]:
    """The decorators and marks of a test: its own, those of its class and of its module."""
    module = function.module
    places = [each.decorator for each in function.node.decorators]
    if function.owner is not None:
        places += [each.decorator for each in function.owner.decorators]
    for statement in module.tree.body:
        for each in statement.body if isinstance(statement, cst.SimpleStatementLine) else ():
            value = pytestmark(each)
            if isinstance(value, cst.List | cst.Tuple):
                places += [element.value for element in value.elements]
            elif value is not None:
                places.append(value)
    return places


def pytestmark(statement: cst.BaseSmallStatement) -> cst.BaseExpression | None:
    """What a statement assigns to `pytestmark`."""
    match statement:
        case (
            cst.Assign(targets=[cst.AssignTarget(target=cst.Name(value="pytestmark"))])
            | cst.AnnAssign(target=cst.Name(value="pytestmark"))
        ):
            return statement.value
    return None
