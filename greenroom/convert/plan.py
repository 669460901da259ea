"""What becomes synchronous, and what stays as it is, and why."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Final

import libcst as cst

from greenroom.convert.kinds import KINDS, SESSION
from greenroom.convert.marks import FIXTURES, is_on_trio
from greenroom.convert.modules import Function
from greenroom.convert.nodes import bound_by, called, dotted_of, own, used_by
from greenroom.convert.regions import Regions
from greenroom.convert.suite import Suite
from greenroom.convert.uses import GATHER, Uses
from greenroom.convert.values import Problem, Value, Values

_DECORATORS: Final = (
    "pytest", "pytest_asyncio", "unittest", "mock", "freezegun", "time_machine", "respx", "hypothesis", "vcr", "anyio", "functools",
    "contextlib", "typing", "responses",
)  # fmt: skip
"""The packages whose decorators take synchronous functions as well as asynchronous ones."""

_TEST_CASE: Final = "unittest's own loop runs it"


@dataclass(frozen=True)
class Stays:
    """A function that stays asynchronous.

    Attributes:
        function: It.
        node: What keeps it so.
        reason: Why.
    """

    function: Function
    node: cst.CSTNode
    reason: str

    @property
    def line(self) -> int:
        """The line of that."""
        return self.function.module.line(self.node)


class Plan:
    """What is to be done.

    Attributes:
        synchronous: The functions that become synchronous.
        stays: Tests, fixtures and setups that stay asynchronous.
        regions: What has to stay on the loop, for each function that becomes synchronous.
        narrowed: The fixtures whose scope becomes the test's.
        notes: What a reader should know.

    Args:
        suite: The suite.
        values: Its values.
        only: The names of the tests to convert; all if there are none.
    """

    def __init__(self, suite: Suite, values: Values, *, only: frozenset[str] = frozenset()) -> None:
        self._suite = suite
        self._values = values
        self._uses = Uses(suite, values)
        self._only = only
        self.regions: dict[Function, Regions] = {}
        self.stays: list[Stays] = []
        self.narrowed: set[Function] = set()
        self.notes: list[str] = []
        self.synchronous: set[Function] = set()
        self._runs: dict[Function, bool] = {}
        self._references = _references(suite)
        self._roots = self._wanted()
        self._problems: dict[Value, list[Problem]] = {}
        self._settle()
        self.synchronous = self._roots | self._helpers

    @functools.cached_property
    def staying(self) -> set[Function]:
        """The tests, fixtures and setups that stay asynchronous, also those that nobody asked to convert."""
        return {
            each
            for module in self._suite.targets
            for each in module.functions
            if each.is_async and each.role in ("test", "fixture", "setup") and each not in self.synchronous
        }

    def is_obsolete(self, function: Function) -> bool:
        """Whether it is a fixture that chooses a loop, and nothing needs that any more."""
        if function.fixture is None or function.name not in FIXTURES or self.staying - self._loops:
            return False
        return not any(
            function.name in each.parameters
            for each in self._suite.functions
            if each is not function and each not in self._loops
        )

    @functools.cached_property
    def _loops(self) -> set[Function]:
        """The fixtures that choose a loop."""
        return {each for each in self._suite.functions if each.fixture is not None and each.name in FIXTURES}

    # -- what the rewriting asks -------------------------------------------------------------------------------------

    def is_synchronous(self, expression: cst.CSTNode, function: Function | None) -> str:
        """The kind of an expression's value if that becomes synchronous; else empty."""
        value = self._values.of(expression, function)
        return self._kind(value) if value is not None else ""

    def calls_synchronous(self, call: cst.Call, function: Function | None) -> Function | None:
        """The helper that a call leads to, if that becomes synchronous."""
        if function is None:
            return None
        helper = self._suite.helper(call.func, function.module, function)
        return helper if helper is not None and helper in self._helpers else None

    def returned(self, function: Function) -> str:
        """The kind of what a function returns or yields, if that becomes synchronous; else empty."""
        return self._kind(self._values.returned(function))

    def in_threads(self, awaited: cst.Await, function: Function) -> bool:
        """Whether the elements of an awaited `gather` are calls of a synchronous client, which threads can call at once."""
        call = awaited.expression
        if not isinstance(call, cst.Call) or function.module.qualified(call.func) != GATHER:
            return False
        elements = [_element(each) for each in call.args]
        return bool(elements) and all(
            each is not None
            and (self._is_method(each, function) or self.calls_synchronous(each, function) is not None)
            for each in elements
        )

    def needs_run(self, function: Function) -> bool:
        """Whether a helper that becomes synchronous runs something on the loop."""
        if function not in self._runs:
            self._runs[function] = False  # for one that calls itself
            self._runs[function] = self._runs_something(function)
        return self._runs[function]

    def _runs_something(self, function: Function) -> bool:
        regions = self.regions_of(function)
        if regions.awaits or regions.ranges:
            return True
        for each in own(function.node):
            match each:
                case cst.Await() if not self.is_dropped(each, function):
                    return True
                case cst.With() if each.asynchronous and not all(
                    self.is_entered(item.item, function) for item in each.items
                ):
                    return True
                case cst.For() | cst.CompFor() if each.asynchronous and not self.is_iterated(
                    each.iter, function
                ):
                    return True
                case cst.Call() if (
                    helper := self.calls_synchronous(each, function)
                ) and helper is not function:
                    if self.needs_run(helper):
                        return True
        return False

    def is_dropped(self, node: cst.Await, function: Function) -> bool:
        """Whether what is awaited becomes synchronous itself."""
        call = node.expression
        if not isinstance(call, cst.Call):
            return False
        return self._is_method(call, function) or self.calls_synchronous(call, function) is not None

    def is_entered(self, item: cst.BaseExpression, function: Function) -> bool:
        """Whether an asynchronous context manager becomes a synchronous one."""
        if self.is_synchronous(item, function):
            return True
        return isinstance(item, cst.Call) and self._is_method(item, function)

    def is_iterated(self, iterated: cst.BaseExpression, function: Function) -> bool:
        """Whether an asynchronous iterable becomes a synchronous one."""
        call = iterated.expression if isinstance(iterated, cst.Await) else iterated
        return isinstance(call, cst.Call) and self._is_method(call, function)

    def regions_of(self, function: Function) -> Regions:
        """The regions of a function."""
        if function not in self.regions:
            self.regions[function] = Regions(function)
        return self.regions[function]

    def _kind(self, value: Value) -> str:
        root = value.root()
        return next(iter(root.kinds)) if root in self._candidates else ""

    def _is_method(self, call: cst.Call, function: Function) -> bool:
        """Whether it is an asynchronous method of a value that becomes synchronous, maybe by `getattr`."""
        target = call.func
        if (
            isinstance(target, cst.Name)
            and (owner := self._values.method(target.value, function)) is not None
        ):
            return bool(self.is_synchronous(owner, function))
        if isinstance(target, cst.Call) and dotted_of(target.func) == "getattr" and target.args:
            return bool(self.is_synchronous(target.args[0].value, function))
        if not isinstance(target, cst.Attribute):
            return False
        kind = self.is_synchronous(target.value, function)
        return bool(kind) and target.attr.value in KINDS[kind].asynchronous

    # -- tests, fixtures, setups -------------------------------------------------------------------------------------

    def _wanted(self) -> set[Function]:
        """The tests and fixtures that can become synchronous, as far as they themselves go."""
        wanted = set()
        for module in self._suite.targets:
            for each in module.functions:
                if not each.is_async or each.role in ("helper", "nested"):
                    continue
                if self._only and (each.role != "test" or each.title.replace(".", "::") not in self._only):
                    continue
                node, reason = self._obstacle(each)
                if reason:
                    self.stays.append(Stays(each, node, reason))
                else:
                    wanted.add(each)
        return wanted

    def _obstacle(self, function: Function) -> tuple[cst.CSTNode, str]:
        module = function.module
        node = function.node
        if function.owner is not None and module.is_testcase(function.owner):
            return node, _TEST_CASE
        if function.role == "setup":
            return (
                node,
                "pytest gives a setup method no fixtures, so it cannot have `run`: make it a fixture with autouse=True",
            )
        if is_on_trio(function, self._suite):
            return node, "anyio runs it with trio as well"
        for each in function.node.decorators:
            name = module.qualified(called(each.decorator))
            if name.partition(".")[0] not in _DECORATORS and dotted_of(called(each.decorator)) not in (
                "staticmethod",
                "classmethod",
            ):
                return (
                    each,
                    f"its decorator {dotted_of(called(each.decorator)) or '…'} may expect a coroutine function",
                )
        regions = self.regions_of(function)
        if regions.reason:
            return node, regions.reason
        if "run" in bound_by(function.node.body) or (
            "run" in used_by(function.node.body) and "run" not in function.parameters
        ):
            return node, "it has another `run` than greenroom's fixture"
        run = self._suite.fixture("run", function)
        if run is not None:
            return (
                node,
                f"the suite has a fixture `run` of its own: {run.module.path.name}:{run.module.line(run.node)}",
            )
        return node, ""

    # -- values and helpers ------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Find the values and helpers that can become synchronous, until nothing changes any more."""
        self._candidates = {each for each in self._values.all if self._is_made_here(each)}
        self._helpers: set[Function] = set()
        for value in list(self._candidates):
            self._judge(value)
        while True:
            before = len(self._candidates)
            self._helpers = self._dependent()
            for value in list(self._candidates):
                self._look_around(value)
            for helper in self._helpers:
                if problem := self._unreachable(helper):
                    for value in self._of(helper):
                        self._give_up(value, problem)
            if len(self._candidates) == before:
                self._helpers = self._dependent()
                return

    def _is_made_here(self, value: Value) -> bool:
        if len(value.kinds) != 1 or value.problems:
            return False
        return value.made > 0 or value.kinds == {"response"}

    def _judge(self, value: Value) -> None:
        """Look at each use by itself."""
        for call, function in self._values.makers(value):
            if problem := self._cannot_make(call, function):
                self._give_up(value, Problem(function.module, call, problem))
        for function, name in value.uses:
            reason = "" if function.module.target else f"{function.module.path.name} is not converted"
            if not reason and self._only and function not in self._roots:
                reason = f"{function.name} is not converted"
            if reason := reason or self._uses.reason(value, function, name):
                self._give_up(value, Problem(function.module, name, reason))

    def _cannot_make(self, call: cst.Call, function: Function) -> str:
        """Why a synchronous client or session cannot be made where the asynchronous one is."""
        if function not in self._roots:
            return f"{function.name} makes it, which gets no fixtures"
        if call in self._values.openings:
            if "engine" in function.parameters or "engine" in used_by(function.node):
                return f"{function.name} has another `engine` than greenroom's fixture"
            if self._suite.fixture("engine", function) is not None:
                return "the suite has a fixture `engine` of its own"
            return ""
        if self._suite.fixture("make_client", function) is not None:
            return "the suite has a fixture `make_client` of its own"
        if function.scope != "function":
            return self._cannot_narrow(function)
        return ""

    def _cannot_narrow(self, function: Function) -> str:
        """Why a fixture cannot be set up for each test."""
        statements = [each for each in function.node.body.body if not _is_text(each)]
        made = [each for each in statements if isinstance(each, cst.With)]
        if len(made) != 1 or any(
            not isinstance(each, cst.With | cst.SimpleStatementLine) for each in statements
        ):
            return f"{function.name} has a wider scope and does more than to make it"
        for each in self._suite.functions:
            if (
                each.fixture is not None
                and each.scope != "function"
                and function.name in each.parameters
                and each is not function
            ):
                return f"the fixture {each.name}, of scope {each.scope}, uses it"
        self.narrowed.add(function)
        return ""

    def _look_around(self, value: Value) -> None:
        """Look at what the uses are in: what stays on the loop cannot have a synchronous client."""
        kind = next(iter(value.kinds))
        for function, name in value.uses:
            module = function.module
            if not isinstance(module.parent(name), cst.Attribute | cst.Arg | cst.WithItem):
                continue
            if function.is_async and function not in self._roots | self._helpers:
                if function.role == "nested" or function.role == "helper":
                    continue  # it does nothing asynchronous with it: else it was among the helpers
                if kind == SESSION.name:
                    self._give_up(value, Problem(module, name, f"{function.name} stays asynchronous"))
                continue
            outermost = function
            while outermost.outer is not None:
                outermost = outermost.outer
            for each in dict.fromkeys((function, outermost)):
                regions = self.regions_of(each)
                if regions.reason and each in self._helpers:
                    self._give_up(value, Problem(module, name, regions.reason))
                if not regions.covers(name):
                    continue
                awaited = next((node for node in module.above(name) if node in regions.awaits), None)
                if not isinstance(awaited, cst.Await) or not self.in_threads(awaited, each):
                    self._give_up(value, Problem(module, name, f"the {kind} is used in a task beside others"))

    def _give_up(self, value: Value, problem: Problem) -> None:
        if value in self._candidates:
            self._candidates.discard(value)
            self._problems.setdefault(value, []).append(problem)
            if problem.module.target:
                place = f"{problem.module.path.name}:{problem.module.line(problem.node)}"
                self.notes.append(
                    f"a {next(iter(value.kinds))} stays asynchronous, behind run(…): {problem.reason} ({place})"
                )

    def _dependent(self) -> set[Function]:
        """The helpers that use a synchronous value, and so have to become synchronous."""
        found: set[Function] = set()
        while True:
            self._helpers = found
            more = {
                each
                for each in self._suite.functions
                if each.is_async
                and each.role in ("helper", "nested")
                and each not in found
                and self._depends(each)
            }
            if not more:
                return found
            found = found | more

    def _depends(self, function: Function) -> bool:
        return any(
            isinstance(each, cst.Call)
            and (self._is_method(each, function) or self.calls_synchronous(each, function) is not None)
            for each in own(function.node.body)
        )

    def _of(self, helper: Function) -> list[Value]:
        """The values that make a helper synchronous, its own or those of the helpers that it calls."""
        found = [
            value for value in self._candidates if any(function is helper for function, _name in value.uses)
        ]
        if found:
            return found
        calls = [each for each in own(helper.node.body) if isinstance(each, cst.Call)]
        inner = [self.calls_synchronous(each, helper) for each in calls]
        return [
            value for each in inner if each is not None and each is not helper for value in self._of(each)
        ]

    def _unreachable(self, helper: Function) -> Problem | None:
        """Why a helper cannot become synchronous: somebody who is not converted, or not in this way, uses it."""
        module = helper.module
        if not module.target or self.regions_of(helper).reason:
            return Problem(module, helper.node, f"{helper.name} is not converted")
        if any(isinstance(each, cst.Yield) for each in own(helper.node)) or helper.node.decorators:
            return Problem(module, helper.node, f"{helper.name} is used by something else than its callers")
        for function, node in self._references.get(helper, []):
            around = function.module.parent(node) if function is not None else None
            if function is None or not isinstance(around, cst.Call) or around.func is not node:
                return Problem(module, helper.node, f"{helper.name} is handed on")
            if (
                function.is_async
                and function not in self._roots | self._helpers
                and function.role in ("helper", "nested")
            ):
                return Problem(
                    function.module, node, f"{function.name}, which stays asynchronous, calls {helper.name}"
                )
            if not function.module.target:
                return Problem(function.module, node, f"{function.module.path.name} is not converted")
            awaited = next(
                (each for each in function.module.above(node) if isinstance(each, cst.Await)), None
            )
            if not isinstance(awaited, cst.Await) or not (
                awaited.expression is around or self.in_threads(awaited, function)
            ):
                return Problem(function.module, node, f"{helper.name}(…) is not awaited where it is called")
        return None


def _element(argument: cst.Arg) -> cst.Call | None:
    value = argument.value
    if isinstance(value, cst.ListComp | cst.GeneratorExp):
        value = value.elt
    return value if isinstance(value, cst.Call) and argument.keyword is None else None


def _is_text(statement: cst.BaseStatement | cst.BaseSmallStatement) -> bool:
    return (
        isinstance(statement, cst.SimpleStatementLine)
        and len(statement.body) == 1
        and isinstance(statement.body[0], cst.Expr)
        and isinstance(statement.body[0].value, cst.SimpleString | cst.ConcatenatedString)
    )


def _references(suite: Suite) -> dict[Function, list[tuple[Function | None, cst.CSTNode]]]:
    """Where each helper is named, other than where it is defined or imported."""
    found: dict[Function, list[tuple[Function | None, cst.CSTNode]]] = {}

    for module in suite.modules:
        for node in module.nodes:
            if not isinstance(node, cst.Name | cst.Attribute):
                continue
            parent = module.parent(node)
            if isinstance(parent, cst.FunctionDef | cst.Param | cst.AssignTarget | cst.ImportAlias):
                continue
            if (isinstance(parent, cst.Attribute) and parent.attr is node) or (
                isinstance(parent, cst.Arg) and parent.keyword is node
            ):
                continue
            function = module.enclosing(node)
            helper = suite.helper(node, module, function)
            if helper is not None and helper.fixture is None:
                found.setdefault(helper, []).append((function, node))
    return found
