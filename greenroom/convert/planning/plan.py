"""What becomes synchronous, and what stays as it is, and why."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import libcst as cst

from greenroom.convert.planning.obstacles import obstacles
from greenroom.convert.planning.regions import Regions
from greenroom.convert.planning.uses import Uses
from greenroom.convert.reading.gathers import Gather, gather_around, gather_of
from greenroom.convert.reading.kinds import KINDS, SESSION
from greenroom.convert.reading.marks import FIXTURES
from greenroom.convert.reading.modules import Function
from greenroom.convert.reading.nodes import dotted_of, is_docstring, own, text_of, used_by
from greenroom.convert.reading.suite import Suite
from greenroom.convert.reading.values import Problem, Value, Values
from greenroom.errors import GreenroomError


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
        notes: What a reader should know, each with its place.

    Args:
        suite: The suite.
        values: Its values.
        only: The tests and classes to convert, each with its file, as `TestIt::test_it`; all if there are none.
    """

    def __init__(
        self, suite: Suite, values: Values, *, only: frozenset[tuple[Path, str]] = frozenset()
    ) -> None:
        self._suite = suite
        self._values = values
        self._uses = Uses(suite, values)
        self._only = only
        self.regions: dict[Function, Regions] = {}
        self.stays: list[Stays] = []
        self.narrowed: set[Function] = set()
        self.notes: list[tuple[str, str]] = []
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

    def uses_fixture(self, name: str, function: Function) -> bool:
        """Whether a test or a fixture uses a fixture of this name, maybe through another one."""
        return name in function.parameters or any(
            self.uses_fixture(name, found)
            for each in function.parameters
            if (found := self._suite.fixture(each, function)) is not None
        )

    def is_obsolete(self, function: Function) -> bool:
        """Whether it is a fixture that chooses a loop, and nothing needs that any more."""
        if function.fixture is None or function.name not in FIXTURES or self.staying - self._loops:
            return False
        named = (node for module in self._suite.modules for node in module.nodes)
        if any(isinstance(each, cst.SimpleString) and text_of(each) == function.name for each in named):
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

    def in_threads(self, awaited: cst.Await, function: Function) -> Gather | None:
        """The gather that is awaited, if its elements are calls of a synchronous client, which threads can call at once."""
        gather = gather_of(awaited, function.module)
        if gather is None or not gather.elements:
            return None
        fits = all(
            each is not None
            and (self._is_method(each, function) or self.calls_synchronous(each, function) is not None)
            for each in gather.elements
        )
        return gather if fits else None

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
            self.regions[function] = Regions(function, self._suite)
        return self.regions[function]

    def _kind(self, value: Value) -> str:
        root = value.root()
        if root not in self._candidates or not all(self._kind(each) for each in root.bases):
            return ""
        return next(iter(root.kinds))

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
                if self._only and (each.role != "test" or not _is_one_of(self._only, each)):
                    continue
                found = next(obstacles(each, self._suite, self.regions_of(each)), None)
                if found is None:
                    wanted.add(each)
                else:
                    self.stays.append(Stays(each, *found))
        return wanted

    # -- values and helpers ------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Find the values and helpers that can become synchronous, until nothing changes any more."""
        self._candidates = {each for each in self._values.all if self._is_made_here(each)}
        self._helpers: set[Function] = set()
        for value in list(self._candidates):
            self._judge(value)
        for value in self._values.all:
            if value.bases and value not in self._candidates:
                self._give_up_bases(value, next(iter(value.problems), None))
        while True:
            before = len(self._candidates)
            self._helpers = self._dependent()
            for value in list(self._candidates):
                self._look_around(value)
            for helper in self._helpers:
                self._runs.clear()  # what was given up since has to run
                for problem in self._unreachable(helper):
                    for value in self._of(helper, set()):
                        self._give_up(value, problem)
            if len(self._candidates) == before:
                break
        self._helpers = self._dependent()
        self._runs.clear()
        makers = {function for value in self._candidates for _call, function in self._values.makers(value)}
        self.narrowed = {
            each
            for each in makers
            if each.fixture is not None and each.scope != "function" and self._makes_client(each)
        }

    def _makes_client(self, function: Function) -> bool:
        return any(maker is function and call in self._values.creations for call, maker in self._values.made)

    def _is_made_here(self, value: Value) -> bool:
        if len(value.kinds) != 1:
            return False
        if not any(function.is_async for _call, function in self._values.makers(value)) and value.made:
            return False  # converted before, and left asynchronous for a reason that was said then
        return value.made > 0 or bool(value.bases)

    def _judge(self, value: Value) -> None:
        """Look at each use by itself."""
        for problem in value.problems:
            self._give_up(value, problem)
        for call, function in self._values.makers(value):
            for reason in self._cannot_make(call, function):
                self._give_up(value, Problem(function.module, call, reason))
        for function, name in value.uses:
            reason = "" if function.module.target else f"{function.module.path.name} is not converted"
            if not reason and self._only and function not in self._roots:
                reason = f"{function.name} is not converted"
            if reason := reason or self._uses.reason(value, function, name):
                self._give_up(value, Problem(function.module, name, reason))

    def _cannot_make(self, call: cst.Call, function: Function) -> Iterator[str]:
        """Why a synchronous client or session cannot be made where the asynchronous one is."""
        if function not in self._roots:
            yield f"{function.name} makes it, which gets no fixtures"
        fixture = "engine" if call in self._values.openings else "make_client"
        if self._suite.fixture(fixture, function) is not None:
            yield f"the suite has a fixture `{fixture}` of its own"
        if fixture in used_by(function.node):
            yield f"{function.name} has another `{fixture}` than greenroom's fixture"
        if fixture == "make_client" and function.scope != "function":
            yield from self._cannot_narrow(function)

    def _cannot_narrow(self, function: Function) -> Iterator[str]:
        """Why a fixture cannot be set up for each test."""
        statements = [each for each in function.node.body.body if not is_docstring(each)]
        blocks = [each for each in statements if isinstance(each, cst.With)]
        lines = [each for each in statements if isinstance(each, cst.SimpleStatementLine)]
        if len(blocks) != 1 or len(lines) + 1 != len(statements):
            yield f"{function.name} has a wider scope and does more than to make it"
        for each in self._suite.functions:
            wider = each.fixture is not None and each.scope != "function" and each is not function
            if wider and function.name in each.parameters:
                yield f"the fixture {each.name}, of scope {each.scope}, uses it"

    def _look_around(self, value: Value) -> None:
        """Look at what the uses are in: what stays on the loop cannot have a synchronous client."""
        kind = next(iter(value.kinds))
        for function, name in value.uses:
            module = function.module
            around = module.parent(name)
            if not isinstance(around, cst.Attribute | cst.Arg | cst.WithItem) or self._stays_helper(function):
                continue  # a helper that stays does nothing asynchronous with it
            if function.is_async and function not in self._roots | self._helpers:
                if kind == SESSION.name:
                    self._give_up(value, Problem(module, name, f"{function.name} stays asynchronous"))
                continue
            call = module.parent(around)
            gather = gather_around(call, module) if isinstance(call, cst.Call) else None
            if gather is not None and self.in_threads(gather.node, function) is None:
                self._give_up(value, Problem(module, name, f"the {kind} is gathered with something else"))
            for each in dict.fromkeys((function, function.outermost)):
                for reason in self._on_the_loop(name, each, kind):
                    self._give_up(value, Problem(module, name, reason))

    def _on_the_loop(self, name: cst.Name, function: Function, kind: str) -> Iterator[str]:
        """Why a name in a function is used where only something asynchronous can be."""
        regions = self.regions_of(function)
        if regions.reason and function in self._helpers:
            yield regions.reason
        if regions.covers(name):
            awaited = next((node for node in function.module.above(name) if node in regions.awaits), None)
            if not isinstance(awaited, cst.Await) or self.in_threads(awaited, function) is None:
                yield f"the {kind} is used in a task beside others"

    def _give_up(self, value: Value, problem: Problem) -> None:
        if value in self._candidates:
            self._candidates.discard(value)
            self._problems.setdefault(value, []).append(problem)
            if problem.module.target and not value.bases:
                place = f"{problem.module.path.name}:{problem.module.line(problem.node)}"
                kind = next(iter(value.kinds))
                self.notes.append((f"a {kind} stays asynchronous, behind run(…): {problem.reason}", place))
            self._give_up_bases(value, problem)

    def _give_up_bases(self, value: Value, problem: Problem | None) -> None:
        """What makes an object that stays asynchronous does so itself."""
        for each in {base.root() for base in value.bases}:
            if problem is not None:
                self._give_up(each, problem)
            else:
                self._candidates.discard(each)

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

    def _of(self, helper: Function, seen: set[Function]) -> list[Value]:
        """The values that make a helper synchronous, its own or those of the helpers that it calls."""
        seen.add(helper)
        found = [
            each for each in self._candidates if any(function is helper for function, _name in each.uses)
        ]
        if found:
            return found
        calls = [each for each in own(helper.node.body) if isinstance(each, cst.Call)]
        inner = {self.calls_synchronous(each, helper) for each in calls}
        return [
            value for each in inner if each is not None and each not in seen for value in self._of(each, seen)
        ]

    def _unreachable(self, helper: Function) -> Iterator[Problem]:
        """Why a helper cannot become synchronous: somebody who is not converted, or not in this way, uses it."""
        module = helper.module
        if not module.target or self.regions_of(helper).reason:
            yield Problem(module, helper.node, f"{helper.name} is not converted")
        if any(isinstance(each, cst.Yield) for each in own(helper.node)) or helper.node.decorators:
            yield Problem(module, helper.node, f"{helper.name} is used by something else than its callers")
        if self.needs_run(helper) and "run" in used_by(helper.node):
            yield Problem(module, helper.node, f"{helper.name} has another `run` than greenroom's fixture")
        for function, node in self._references.get(helper, []):
            call = function.module.parent(node) if function is not None else None
            if function is None or not isinstance(call, cst.Call) or call.func is not node:
                yield Problem(module, helper.node, f"{helper.name} is handed on")
            elif not function.module.target:
                yield Problem(function.module, node, f"{function.module.path.name} is not converted")
            elif self._stays_helper(function):
                yield Problem(
                    function.module, node, f"{function.name}, which stays asynchronous, calls {helper.name}"
                )
            elif not isinstance(function.module.parent(call), cst.Await) and not self._is_gathered(
                call, function
            ):
                yield Problem(function.module, node, f"{helper.name}(…) is not awaited where it is called")

    def _stays_helper(self, function: Function) -> bool:
        return function.is_async and function.role in ("helper", "nested") and function not in self._helpers

    def _is_gathered(self, call: cst.Call, function: Function) -> bool:
        """Whether a call is an element of a gather that threads can do."""
        gather = gather_around(call, function.module)
        return gather is not None and self.in_threads(gather.node, function) is not None


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


def check(only: frozenset[tuple[Path, str]], suite: Suite) -> None:
    """Check that the tests that are to be converted are there.

    Raises:
        GreenroomError: One is not.
    """
    tests = [each for each in suite.functions if each.role == "test"]
    for path, name in sorted(only):
        if path not in suite.broken and not any(
            _is_one_of(frozenset({(path, name)}), each) for each in tests
        ):
            raise GreenroomError(
                f"There is no test {name} in {path}.", hint=f"greenroom convert {path.name} --diff"
            )


def _is_one_of(only: frozenset[tuple[Path, str]], function: Function) -> bool:
    """Whether a function is one of the tests, or in one of the classes."""
    parts = function.node_id.split("::")
    return any(
        (function.module.path, "::".join(parts[:number])) in only for number in range(1, len(parts) + 1)
    )
