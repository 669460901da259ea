"""Which names are one and the same client or session: from where it is made, through fixtures and helpers, to where it is used.

Objects are followed by name: parameters of tests to fixtures as pytest finds them, arguments to parameters of helpers,
what is returned or yielded to whoever called. All places that one object can reach have one value. It becomes synchronous as a
whole, or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import libcst as cst

from greenroom.convert.reading.clients import CLIENTS, Creation
from greenroom.convert.reading.kinds import CLIENT, DERIVED, SESSION, Kind
from greenroom.convert.reading.modules import Function, Module
from greenroom.convert.reading.nodes import dotted_of, text_of
from greenroom.convert.reading.sessions import Factories, Opening
from greenroom.convert.reading.suite import Suite


@dataclass(frozen=True)
class Problem:
    """Why a value stays asynchronous."""

    module: Module
    node: cst.CSTNode
    reason: str


class Value:
    """An object, wherever it is used.

    Attributes:
        kinds: What it is, as far as anything tells.
        problems: Why it stays asynchronous.
        uses: Where it is named.
        fixtures: The fixtures that hand it on.
        made: How many calls make it.
        bases: The objects whose methods make it.
    """

    def __init__(self) -> None:
        self._same: Value | None = None
        self.kinds: set[str] = set()
        self.problems: list[Problem] = []
        self.uses: list[tuple[Function, cst.Name]] = []
        self.fixtures: list[Function] = []
        self.made = 0
        self.bases: list[Value] = []

    def root(self) -> Value:
        """The one that stands for all that are the same."""
        value = self
        while value._same is not None:
            value = value._same
        return value

    def join(self, other: Value) -> None:
        """Both are the same object."""
        one, two = self.root(), other.root()
        if one is two:
            return
        two._same = one  # noqa: SLF001 - another of its class
        one.kinds |= two.kinds
        one.problems += two.problems
        one.uses += two.uses
        one.fixtures += two.fixtures
        one.made += two.made
        one.bases += two.bases


class Values:
    """The values of a suite.

    Attributes:
        creations: The calls that make a client.
        openings: The calls that open a session.

    Args:
        suite: The suite.
        factories: Tells which names make sessions.
    """

    def __init__(self, suite: Suite, factories: Factories) -> None:
        self._suite = suite
        self._factories = factories
        self._named: dict[tuple[Function, str], Value] = {}
        self._returned: dict[Function, Value] = {}
        self._made: dict[cst.CSTNode, Value] = {}
        self.creations: dict[cst.Call, Creation] = {}
        self.openings: dict[cst.Call, Opening] = {}
        self._methods: dict[tuple[Function, str], cst.BaseExpression] = {}
        self._makers: dict[cst.Call, Function] = {}
        self._transports: dict[tuple[Module, Function | None], dict[str, cst.Call]] = {}
        for module in suite.modules:
            self._transports_of(module)
        for function in suite.functions:
            self._bind(function)
        # Twice: a function may come before what tells what it gets.
        for module in (*suite.modules, *suite.modules):
            _Flow(self, module).follow()
        for module in suite.modules:
            _Flow(self, module).note_uses()

    # -- what the plan asks ------------------------------------------------------------------------------------------

    def of(self, expression: cst.CSTNode, function: Function | None) -> Value | None:
        """The value of an expression, if it is one that is followed."""
        if isinstance(expression, cst.Await):
            return self.of(expression.expression, function)
        if isinstance(expression, cst.Name):
            return self.named(expression.value, function)
        if isinstance(expression, cst.Call):
            if expression in self._made:
                return self._made[expression].root()
            if isinstance(expression.func, cst.Attribute) and expression.func.attr.value in DERIVED:
                of, kind = DERIVED[expression.func.attr.value]
                base = self.of(expression.func.value, function)
                if base is not None and of.name in base.kinds:
                    made = self._made.setdefault(expression, Value())
                    made.kinds.add(kind.name)
                    made.bases.append(base)
                    return made.root()
            if function is not None:
                asked = _asked_for(expression)
                fixture = self._suite.fixture(asked, function) if asked else None
                helper = fixture or self._suite.helper(expression.func, function.module, function)
                if helper is not None and (helper is fixture or helper.fixture is None):
                    return self.returned(helper)
        return None

    def named(self, name: str, function: Function | None) -> Value | None:
        """The value of a name in a function, or in one that it is nested in."""
        while function is not None:
            if (found := self._named.get((function, name))) is not None:
                return found.root()
            function = function.outer
        return None

    def makers(self, value: Value) -> Iterator[tuple[cst.Call, Function]]:
        """The calls that make a value, each with the function that it is in."""
        for call, function in self.made:
            if self._made[call].root() is value.root():
                yield call, function

    @property
    def made(self) -> list[tuple[cst.Call, Function]]:
        """Each call that makes a client or opens a session, with the function that it is in."""
        return [(call, self._makers[call]) for call in (*self.creations, *self.openings)]

    def transports(self, function: Function) -> dict[str, cst.Call]:
        """The transports that a function, or its module, gives a name."""
        module = function.module
        return self._transports.get((module, None), {}) | self._transports.get((module, function), {})

    def method(self, name: str, function: Function) -> cst.BaseExpression | None:
        """The object whose method a name is in a function, as in `call = getattr(client, "get")`."""
        return self._methods.get((function, name))

    def returned(self, function: Function) -> Value:
        """What a function returns or yields."""
        return self._returned.setdefault(function, Value()).root()

    @property
    def all(self) -> list[Value]:
        """Each that is of a known kind."""
        found = [*self._named.values(), *self._returned.values(), *self._made.values()]
        return [each for each in dict.fromkeys(value.root() for value in found) if each.kinds]

    # -- how it is found out -----------------------------------------------------------------------------------------

    def _transports_of(self, module: Module) -> None:
        for node in module.nodes:
            match node:
                case cst.Assign(
                    targets=[cst.AssignTarget(target=cst.Name() as name)], value=cst.Call() as call
                ):
                    if dotted_of(call.func).endswith("ASGITransport"):
                        self._transports.setdefault((module, module.enclosing(node)), {})[name.value] = call

    def _bind(self, function: Function) -> None:
        """Give the parameters of a function their values."""
        pytest_calls = function.role in ("test", "fixture") and function.outer is None
        for name in function.parameters:
            fixture = self._suite.fixture(name, function) if pytest_calls else None
            value = self.returned(fixture) if fixture is not None else Value()
            self._named[function, name] = value
            if fixture is not None and fixture not in value.root().fixtures:
                value.root().fixtures.append(fixture)

    def make(self, call: cst.Call, function: Function, module: Module) -> None:
        """Note a call that makes a client or opens a session."""
        if call in self._made:
            return
        self._makers[call] = function
        kind: Kind
        if module.qualified(call.func) in CLIENTS:
            creation = Creation(call, module, self.transports(function))
            if creation.of_server:
                return
            reason = creation.reason
            self.creations[call] = creation
            kind = CLIENT
        elif (opening := self._factories.opening(call, module)) is not None:
            reason = ""
            self.openings[call] = opening
            kind = SESSION
        else:
            return
        value = self._made.setdefault(call, Value()).root()
        value.kinds.add(kind.name)
        value.made += 1
        if reason:
            value.problems.append(Problem(module, call, reason))

    def flow(self, name: str, source: cst.CSTNode, function: Function) -> None:
        """A name is bound to the value of an expression."""
        value = self.of(source, function)
        key = (function, name)
        if (owner := method_of(source)) is not None and self.of(owner, function) is not None:
            self._methods[key] = owner
        if value is None:
            if key in self._named and not (isinstance(source, cst.Name) and source.value == "None"):
                self._named[key].root().problems.append(
                    Problem(function.module, source, f"{name} is bound to something else as well")
                )
            return
        if key in self._named:
            self._named[key].join(value)
        else:
            self._named[key] = value

    def hand_out(self, source: cst.CSTNode, function: Function) -> None:
        """A function returns or yields the value of an expression."""
        value = self.of(source, function)
        if value is not None:
            self.returned(function).join(value)

    def hand_over(self, name: cst.Name, call: cst.Call, argument: cst.Arg, function: Function) -> bool:
        """A name is an argument of a call. Returns whether it is known what becomes of it."""
        helper = self._suite.helper(call.func, function.module, function)
        value = self.named(name.value, function)
        if value is None or helper is None or helper.fixture is not None or argument.star:
            return False
        parameters = helper.parameters
        if helper.owner is not None and parameters[:1] in (["self"], ["cls"]):
            parameters = parameters[1:]
        if argument.keyword is not None:
            found = argument.keyword.value
        else:
            position = call.args.index(argument)
            if any(each.star for each in call.args[:position]) or position >= len(parameters):
                return False
            found = parameters[position]
        if found not in parameters:
            return False
        self._named[helper, found].join(value)
        return True


def method_of(expression: cst.CSTNode) -> cst.BaseExpression | None:
    """The object whose method an expression is, without calling it: `client.get`, or `getattr(client, method)`."""
    match expression:
        case cst.Attribute():
            return expression.value
        case cst.Call(func=cst.Name(value="getattr"), args=[first, _]):
            return first.value
    return None


def _asked_for(call: cst.Call) -> str:
    """The fixture that `request.getfixturevalue("client")` asks for."""
    match call:
        case cst.Call(func=cst.Attribute(attr=cst.Name(value="getfixturevalue")), args=[argument]):
            return text_of(argument.value)
    return ""


class _Flow:
    """Follows the values through one module."""

    def __init__(self, values: Values, module: Module) -> None:
        self._values = values
        self._module = module

    def follow(self) -> None:
        """Look at each node that binds a value, makes one, or hands it on."""
        for node in self._module.nodes:
            if isinstance(node, _MOVES) and (function := self._module.enclosing(node)) is not None:
                self._look(node, function)

    def _look(self, node: cst.CSTNode, function: Function) -> None:
        match node:
            case cst.Call():
                self._values.make(node, function, self._module)
            case cst.Assign():
                for each in node.targets:
                    if isinstance(each.target, cst.Name):
                        self._values.flow(each.target.value, node.value, function)
            case cst.AnnAssign(target=cst.Name()) if node.value is not None:
                self._values.flow(node.target.value, node.value, function)  # type: ignore[attr-defined]
            case cst.WithItem() if node.asname is not None and isinstance(node.asname.name, cst.Name):
                self._values.flow(node.asname.name.value, node.item, function)
            case cst.Return() | cst.Yield() if isinstance(node.value, cst.BaseExpression):
                self._values.hand_out(node.value, function)
            case cst.Arg(value=cst.Name()):
                call = self._module.parent(node)
                if isinstance(call, cst.Call):
                    self._values.hand_over(node.value, call, node, function)  # type: ignore[arg-type]

    def note_uses(self) -> None:
        """Note where each value is named."""
        for node in self._module.nodes:
            if isinstance(node, cst.Name):
                function = self._module.enclosing(node)
                value = self._values.named(node.value, function)
                if value is not None and function is not None:
                    value.uses.append((function, node))


_MOVES: Final = (cst.Call, cst.Assign, cst.AnnAssign, cst.WithItem, cst.Return, cst.Yield, cst.Arg)
