"""`await asyncio.gather(…)` whose elements use a client: threads do with a synchronous one what tasks did."""

from __future__ import annotations

from typing import Final

import libcst as cst

from greenroom.convert.reading.modules import Module
from greenroom.convert.reading.nodes import own

_GATHER: Final = "asyncio.gather"


class Gather:
    """One awaited `asyncio.gather(…)` whose results are simply taken.

    Attributes:
        node: The whole `await`.
        elements: The calls that it gathers; None among them is something else than a call.
        listed: What a name among its arguments stands for, by that name's node.
        statements: The statements that give these names their lists. They are used for nothing else.
        keeps_errors: It returns exceptions as results.
    """

    def __init__(self, node: cst.Await, call: cst.Call, module: Module) -> None:
        self.node = node
        self.elements: list[cst.Call | None] = []
        self.listed: dict[cst.Name, cst.BaseExpression] = {}
        self.statements: list[cst.Assign] = []
        self.keeps_errors = False
        for argument in call.args:
            if argument.keyword is not None:
                value = argument.value
                self.keeps_errors = isinstance(value, cst.Name) and value.value == "True"
                if argument.keyword.value != "return_exceptions" or not isinstance(value, cst.Name):
                    self.elements.append(None)
            elif argument.star == "*":
                self._take_listed(argument.value, module)
            else:
                self.elements.append(argument.value if isinstance(argument.value, cst.Call) else None)

    def _take_listed(self, value: cst.BaseExpression, module: Module) -> None:
        if isinstance(value, cst.Name):
            statement = _only_list(value, module)
            if statement is None:
                self.elements.append(None)
                return
            self.listed[value] = statement.value
            self.statements.append(statement)
            value = statement.value
        match value:
            case cst.ListComp() | cst.GeneratorExp():
                self.elements.append(value.elt if isinstance(value.elt, cst.Call) else None)
            case cst.List() | cst.Tuple():
                self.elements += [
                    each.value if isinstance(each.value, cst.Call) else None for each in value.elements
                ]
            case _:
                self.elements.append(None)


def gather_of(node: cst.CSTNode, module: Module) -> Gather | None:
    """The gather that an awaited expression is, if its results are simply taken."""
    match node:
        case cst.Await(expression=cst.Call() as call) if module.qualified(
            call.func
        ) == _GATHER and isinstance(module.parent(node), cst.Assign | cst.Expr | cst.Return | cst.AnnAssign):
            return Gather(node, call, module)
    return None


def gather_around(call: cst.Call, module: Module) -> Gather | None:
    """The gather that a call is an element of."""
    around = module.parent(call)
    if isinstance(around, cst.Element):
        around = module.parent(around)
    if isinstance(around, cst.Assign):
        return None
    if isinstance(around, cst.ListComp | cst.GeneratorExp | cst.List | cst.Tuple):
        around = module.parent(around)
    name = around.targets[0].target if isinstance(around, cst.Assign) else None
    function = module.enclosing(call)
    if isinstance(name, cst.Name) and function is not None:
        uses = [
            each
            for each in own(function.node)
            if isinstance(each, cst.Name) and each.value == name.value and each is not name
        ]
        if len(uses) != 1:
            return None
        around = module.parent(uses[0])
    if not isinstance(around, cst.Arg):
        return None
    gathering = module.parent(around)
    found = gather_of(module.parent(gathering), module)
    return found if found is not None and call in found.elements else None


def _only_list(name: cst.Name, module: Module) -> cst.Assign | None:
    """The statement before that gives a name its list, if the name is used for nothing else."""
    function = module.enclosing(name)
    if function is None:
        return None
    others = [
        each
        for each in own(function.node)
        if isinstance(each, cst.Name) and each.value == name.value and each is not name
    ]
    if len(others) != 1:
        return None
    assign = module.parent(module.parent(others[0]))
    if not isinstance(assign, cst.Assign) or len(assign.targets) != 1:
        return None
    line, block = module.parent(assign), module.parent(module.parent(assign))
    statement = next((each for each in module.above(name) if module.parent(each) is block), None)
    if (
        not isinstance(line, cst.SimpleStatementLine)
        or len(line.body) != 1
        or not isinstance(block, cst.IndentedBlock)
    ):
        return None
    return (
        assign if statement in block.body and block.body.index(line) < block.body.index(statement) else None
    )
