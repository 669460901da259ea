"""What has to stay on the loop in a test that becomes synchronous: tasks, `gather`, timeouts, task groups.

Such an expression, or such statements from the first one to the last that uses what they have begun, become a local coroutine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import libcst as cst

from greenroom.convert.reading.modules import Function, Module
from greenroom.convert.reading.nodes import bound_at, bound_by, own, used_by
from greenroom.convert.reading.suite import Suite

_NEEDS_LOOP: Final = {
    f"asyncio.{name}"
    for name in (
        "create_task", "ensure_future", "gather", "shield", "wait", "as_completed", "get_running_loop", "get_event_loop",
        "current_task", "all_tasks", "timeout", "timeout_at", "TaskGroup", "Future",
    )
} | {f"anyio.{name}" for name in ("create_task_group", "fail_after", "move_on_after", "CancelScope", "current_time")}  # fmt: skip

_OF_LOOPS: Final = {"create_task", "run_in_executor", "call_soon", "call_later", "call_at", "create_future"}


@dataclass
class Region:
    """Statements of one block that become a local coroutine.

    Attributes:
        statements: They.
        returned: Names that they bind and that are used after them.
        outer: Names that they bind and that were bound before.
    """

    statements: list[cst.BaseStatement]
    returned: list[str] = field(default_factory=list)
    outer: list[str] = field(default_factory=list)


class Regions:
    """The regions of one function.

    Attributes:
        awaits: Awaited expressions that need a running loop, on their own.
        ranges: Statements that do, by the first one.
        reason: Why the function cannot become synchronous; empty if it can.

    Args:
        function: The function.
        suite: What its names lead to.
    """

    def __init__(self, function: Function, suite: Suite) -> None:
        self._function = function
        self._suite = suite
        self._module = function.module
        self.awaits: list[cst.Await] = []
        self.ranges: dict[cst.CSTNode, Region] = {}
        self.reason = ""
        self._covered: set[cst.CSTNode] = set()
        body = function.node.body
        if isinstance(body, cst.IndentedBlock):
            self._block(list(body.body), bound=set(function.parameters))
        for each in own(function.node):
            if isinstance(each, cst.GeneratorExp) and _is_asynchronous(each):
                self.reason = "it has an asynchronous generator expression"
            if isinstance(each, cst.Await) and not self.covers(each) and self._looped(each.expression):
                self._expression(each)

    def covers(self, node: cst.CSTNode) -> bool:
        """Whether a node is within one of the regions."""
        return node in self._covered or any(each in self._covered for each in self._module.above(node))

    def _expression(self, node: cst.Await) -> None:
        statement = statement_of(node, self._module)
        if statement is None or any(
            isinstance(each, cst.Lambda | cst.While) for each in self._within(node, statement)
        ):
            self.reason = "it awaits what needs a running loop, where no local coroutine can stand before it"
            return
        around = list(self._within(node, statement))
        if any(
            isinstance(each, _COMPREHENSIONS) and each.for_in.iter not in {node, *around} for each in around
        ):
            self.reason = "it awaits what needs a running loop within a comprehension"
            return
        self.awaits.append(node)
        self._covered.add(node)

    def _within(self, node: cst.CSTNode, statement: cst.CSTNode) -> Iterator[cst.CSTNode]:
        for each in self._module.above(node):
            yield each
            if each is statement:
                return

    def _block(
        self,
        statements: Sequence[cst.BaseStatement],
        bound: set[str],
        again: Sequence[cst.BaseStatement] = (),
    ) -> None:
        """Find the ranges of a block.

        Args:
            statements: Its statements.
            bound: The names that are bound before.
            again: The statements of the loops that it is in, which may use in the next round what it binds.
        """
        index = 0
        while index < len(statements):
            statement = statements[index]
            if not self._begins(statement):
                bound = bound | bound_by(statement)
                index += 1
                continue
            blocks = self._inner(statement)
            begun = bound_by(statement)
            after = used_by(*statements[index + 1 :])
            if blocks is not None and not begun & after and not self._flows(statement, blocks):
                within = {node for block in blocks for each in block for node in (each, *own(each))}
                header = bound | bound_at(each for each in (statement, *own(statement)) if each not in within)
                loops = isinstance(statement, cst.For | cst.While)
                for block in blocks:
                    self._block(block, header, [*again, *block] if loops else again)
                index += 1
                continue
            last = index
            while used := [n for n in range(last + 1, len(statements)) if begun & used_by(statements[n])]:
                last = used[-1]
                begun = set().union(
                    *(bound_by(each) for each in statements[index : last + 1] if self._begins(each))
                )
                if not any(begun & used_by(statements[n]) for n in range(last + 1, len(statements))):
                    break
            self._range(list(statements[index : last + 1]), bound, statements[last + 1 :], again)
            if statement in self.ranges:
                bound = bound.union(self.ranges[statement].returned)
            index = last + 1

    def _flows(self, statement: cst.BaseStatement, blocks: Sequence[Sequence[cst.BaseStatement]]) -> bool:
        """Whether a block of a statement uses what was begun in another one of it, as `finally` does."""
        if not isinstance(statement, cst.For | cst.While | cst.Try | cst.TryStar):
            return False
        if isinstance(statement, cst.For | cst.While) and any(
            isinstance(each, cst.Break | cst.Continue) and self._loop_of(each) is statement
            for each in own(statement)
        ):
            return any(self._begins(each) for each in blocks[0])
        test = used_by(statement.test) if isinstance(statement, cst.While) else set()
        for block in blocks:
            if any(self._begins(each) for each in block):
                others = test.union(*(used_by(*other) for other in blocks if other is not block))
                if bound_by(*block) & others:
                    return True
        return False

    def _range(
        self,
        statements: list[cst.BaseStatement],
        bound: set[str],
        rest: Sequence[cst.BaseStatement],
        again: Sequence[cst.BaseStatement],
    ) -> None:
        for each in statements:
            if isinstance(each, cst.FunctionDef | cst.ClassDef):
                continue
            for node in [each, *own(each)]:
                if isinstance(node, cst.Yield | cst.Return | cst.Global | cst.Nonlocal) or (
                    isinstance(node, cst.Break | cst.Continue) and not self._loops_within(node, each)
                ):
                    self.reason = (
                        f"it begins tasks, and leaves their statements with {type(node).__name__.lower()}"
                    )
                    return
        names = set().union(*(bound_by(each) for each in statements))
        own_nodes = {node for each in statements for node in (each, *own(each))}
        others = (node for each in again for node in (each, *own(each)) if node not in own_nodes)
        used = used_by(*rest) | {each.value for each in others if isinstance(each, cst.Name)}
        region = Region(
            list(statements),
            returned=sorted(
                each for each in (names - bound) & used if again or not _is_overwritten(each, rest)
            ),
            outer=sorted(names & bound),
        )
        self.ranges[statements[0]] = region
        self._covered.update(statements)

    def _loop_of(self, node: cst.CSTNode) -> cst.CSTNode | None:
        """The loop that a `break` or `continue` is of."""
        return next(
            (each for each in self._module.above(node) if isinstance(each, cst.For | cst.While)), None
        )

    def _loops_within(self, node: cst.CSTNode, statement: cst.CSTNode) -> bool:
        return any(isinstance(each, cst.For | cst.While) for each in self._within(node, statement))

    def _begins(self, statement: cst.BaseStatement) -> bool:
        """Whether a statement calls what needs a running loop, other than within something that is awaited."""
        if isinstance(statement, cst.FunctionDef | cst.ClassDef):
            return False
        return any(
            isinstance(each, cst.Call) and self._needs(each) and not self._is_awaited(each, statement)
            for each in [statement, *own(statement)]
        )

    def _is_awaited(self, call: cst.CSTNode, statement: cst.CSTNode) -> bool:
        return any(isinstance(each, cst.Await) for each in self._within(call, statement))

    def _inner(self, statement: cst.BaseStatement) -> list[list[cst.BaseStatement]] | None:
        """The blocks of a compound statement, if what needs a loop is in these only."""
        if not isinstance(
            statement, cst.With | cst.If | cst.For | cst.Try | cst.TryStar | cst.While | cst.Match
        ):
            return None
        blocks = [each for each in own(statement) if isinstance(each, cst.IndentedBlock)]
        direct = [each for each in blocks if self._owner(each, statement)]
        inside = {node for block in direct for node in own(block)}
        for each in own(statement):
            if isinstance(each, cst.Call) and self._needs(each) and each not in inside:
                return None
        return [list(each.body) for each in direct]

    def _owner(self, block: cst.IndentedBlock, statement: cst.CSTNode) -> bool:
        """Whether a block is one of a statement's own, and not one of a statement within it."""
        for each in self._module.above(block):
            if each is statement:
                return True
            if isinstance(each, cst.IndentedBlock | cst.FunctionDef):
                return False
        return False

    def _looped(self, expression: cst.CSTNode) -> bool:
        return any(
            isinstance(each, cst.Call) and self._needs(each) for each in [expression, *own(expression)]
        )

    def _needs(self, call: cst.Call) -> bool:
        if needs_loop(call, self._module):
            return True
        helper = self._suite.helper(call.func, self._module, self._function)
        return (
            helper is not None
            and not helper.is_async
            and helper.fixture is None
            and _begins_tasks(helper, self._suite)
        )


def needs_loop(call: cst.Call, module: Module) -> bool:
    """Whether a call needs a running loop where it is called, and not only where its result is awaited."""
    if module.qualified(call.func) in _NEEDS_LOOP:
        return True
    return (
        isinstance(call.func, cst.Attribute)
        and call.func.attr.value in _OF_LOOPS
        and isinstance(call.func.value, cst.Name)
        and call.func.value.value in ("loop", "event_loop", "tg", "group", "task_group")
    )


def _begins_tasks(helper: Function, suite: Suite, *seen: Function) -> bool:
    """Whether a helper that is no coroutine needs a running loop, as one does that begins a task, or calls one that does."""
    calls = [each for each in own(helper.node.body) if isinstance(each, cst.Call)]
    inner = {suite.helper(each.func, helper.module, helper) for each in calls} - {helper, *seen}
    return any(needs_loop(each, helper.module) for each in calls) or any(
        each is not None and not each.is_async and _begins_tasks(each, suite, helper, *seen) for each in inner
    )


STATEMENTS: Final = (
    cst.SimpleStatementLine, cst.If, cst.For, cst.While, cst.With, cst.Try, cst.TryStar, cst.Match
)  # fmt: skip
"""What a local coroutine can stand before."""


def statement_of(node: cst.CSTNode, module: Module) -> cst.CSTNode | None:
    """The statement that a node is in, such that a local coroutine can stand before it: for an `elif`, the `if`."""
    found = next((each for each in module.above(node) if isinstance(each, STATEMENTS)), None)
    while isinstance(found, cst.If) and isinstance(outer := module.parent(found), cst.If):
        found = outer
    return found


def _is_overwritten(name: str, statements: Sequence[cst.BaseStatement]) -> bool:
    """Whether statements bind a name before they use it."""
    first = next((each for each in statements if name in used_by(each)), None)
    match first:
        case cst.SimpleStatementLine(body=[cst.Assign() as assign, *_]):
            return name in bound_by(*assign.targets) and name not in used_by(assign.value)
        case cst.With():
            items = [each.item for each in first.items]
            return name in bound_by(*first.items) and name not in used_by(*items)
    return False


def _is_asynchronous(expression: cst.GeneratorExp) -> bool:
    """Whether a generator expression can be iterated over with `async for` only."""
    first = expression.for_in.iter
    within = {first, *own(first)}
    return any(
        (isinstance(each, cst.Await) and each not in within)
        or (isinstance(each, cst.CompFor) and each.asynchronous is not None)
        for each in own(expression)
    )


_COMPREHENSIONS: Final = (cst.ListComp, cst.SetComp, cst.DictComp, cst.GeneratorExp)
