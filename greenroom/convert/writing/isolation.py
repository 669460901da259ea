"""Home-made isolation, recognised and replaced by greenroom's: savepoint recipes, tables made per test, overridden sessions.

A fixture is one of these if everything in it is. What it hands on tells what it becomes: a session becomes greenroom's
`async_session`; engines, connections, transactions and tables go when nothing asks for them any more.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import libcst as cst

from greenroom.convert.reading.modules import Function, Module
from greenroom.convert.reading.nodes import dotted_of, is_docstring, own, used_by, walk
from greenroom.convert.reading.suite import Suite
from greenroom.convert.reading.values import Values

SESSION: Final = "async_session"
"""Greenroom's fixture in the place of the suite's own."""

_MAKES: Final = {
    "create_async_engine": "engine", "async_engine_from_config": "engine", "connect": "connection", "begin": "transaction",
    "begin_nested": "transaction", "async_sessionmaker": "factory", "sessionmaker": "factory", "AsyncSession": "session",
    "async_scoped_session": "session",
}  # fmt: skip
"""What calls make, by the last part of their names."""

_ISOLATES: Final = frozenset({
    *_MAKES, "rollback", "close", "aclose", "dispose", "run_sync", "create_all", "drop_all", "commit", "delete", "execute", "text",
    "listens_for", "listen", "remove", "clear", "pop", "get", "reversed", "expire_all", "in_transaction", "in_nested_transaction",
    "is_active", "get_nested_transaction", "get_transaction", "URL", "make_url", "str", "current_task",
})  # fmt: skip
"""What a fixture that only isolates calls. A statement that is executed must be one that empties tables."""

_TABLES: Final = frozenset({"create_all", "drop_all", "execute"})
"""What a fixture that hands nothing on has to do, to be one for tables."""

_EMPTIES: Final = ("truncate", "delete from", "drop schema", "create schema", "drop table")

_OVERRIDES: Final = "dependency_overrides"


class Isolation:
    """The home-made isolation of a suite.

    Attributes:
        notes: What a reader should know, each with its place.

    Args:
        suite: The suite.
        values: Its values.
    """

    def __init__(self, suite: Suite, values: Values) -> None:
        self._suite = suite
        self._values = values
        self._by_name = _named_by_text(suite)
        kinds = {
            each: kind
            for module in suite.targets
            for each in module.functions
            if each.fixture is not None and not each.outer and (kind := self._kind(each))
        }
        self._sessions = {
            each
            for each, kind in kinds.items()
            if kind == "session" and each.scope == "function" and not self._has_models(each.module)
        }
        self._overriding = {
            each: found
            for module in suite.targets
            for each in module.functions
            if each not in kinds and (found := self._overrides(each))
        }
        self._gone = self._unneeded(
            {
                each
                for each, kind in kinds.items()
                if each not in self._sessions and not (kind == "tables" and self._has_models(each.module))
            }
        )
        self.notes = list(self._told())

    def _told(self) -> Iterator[tuple[str, str]]:
        for function in sorted(
            (*self._sessions, *self._gone, *self._overriding),
            key=lambda each: (str(each.module.path), each.title),
        ):
            place = f"{function.module.path.name}:{function.module.line(function.node)}"
            if function in self._sessions:
                yield f"isolation: {function.name} is greenroom's {SESSION} now", place
            elif function in self._gone:
                yield f"isolation: {function.name} is gone", place
            else:
                said = (
                    f"isolation: {function.name} overrides no session of the application any more: the tests commit what the "
                    "application is to see, and refresh what it has changed"
                )
                yield said, place

    def replaced(self, module: Module) -> bytes:
        """The text of a module with greenroom's isolation."""
        return module.tree.visit(_Replacing(module, self)).bytes

    def becomes(self, function: Function) -> str:
        """`session`, `gone`, or nothing special."""
        return "session" if function in self._sessions else "gone" if function in self._gone else ""

    def without(self, function: Function) -> list[cst.CSTNode]:
        """The statements of a function that override the application's session."""
        return self._overriding.get(function, [])

    def drops(self, function: Function) -> set[str]:
        """The parameters of a function that it needs no more: fixtures that are gone, and what only its overrides used."""
        gone = {
            name
            for name in function.parameters
            if (fixture := self._fixture(name, function)) is not None and fixture in self._gone
        }
        removed = self.without(function)
        if removed:
            left = used_by(*(each for each in function.node.body.body if each not in removed))
            gone |= {
                name
                for name in function.parameters
                if name not in left and self._fixture(name, function) in self._sessions
            }
        return gone

    def commits(self, name: str, function: Function) -> bool:
        """Whether a name is a session that the application shared: what it flushes has to be committed from now on."""
        value = self._values.named(name, function)
        if value is None or not self._overriding:
            return False
        return any(self._values.returned(each) is value for each in self._sessions)

    # -- what is recognised ------------------------------------------------------------------------------------------

    def _kind(self, function: Function) -> str:
        """What a fixture that only isolates hands on: a session, an engine, …, or `tables` if nothing. Empty for another one."""
        made: dict[str, str] = {}
        result = "tables"
        for node in own(function.node.body):
            match node:
                case cst.Call() if not self._isolates(node, function):
                    return ""
                case cst.Assign(targets=[cst.AssignTarget(target=cst.Name(value=name))]):
                    made[name] = self._made(node.value, function)
                case cst.WithItem(asname=cst.AsName(name=cst.Name(value=name))):
                    made[name] = self._made(node.item, function)
                case cst.Yield(value=cst.Name(value=name)) | cst.Return(value=cst.Name(value=name)):
                    result = made.get(name, "")
                case (
                    cst.Yield(value=cst.BaseExpression() as value)
                    | cst.Return(value=cst.BaseExpression() as value)
                ):
                    result = self._made(value, function)
                case cst.Assert():
                    return ""
        isolates = bool(
            _TABLES & {*_attributes(function.node), *(_last(each) for each in own(function.node.body))}
        )
        return result if result != "tables" or isolates else ""

    def _isolates(self, call: cst.Call, function: Function) -> bool:
        name = _last(call.func)
        if name == "execute":
            texts = [each.value.lower() for each in walk(call) if isinstance(each, cst.SimpleString)]
            deletes = any(_last(each.func) == "delete" for each in walk(call) if isinstance(each, cst.Call))
            return deletes or any(word in text for text in texts for word in _EMPTIES)
        return name in _ISOLATES or self._made(call, function) == "session"

    def _made(self, expression: cst.CSTNode, function: Function) -> str:
        if isinstance(expression, cst.Await):
            expression = expression.expression
        if not isinstance(expression, cst.Call):
            return ""
        name = _last(expression.func)
        if name in _MAKES:
            return _MAKES[name]
        if isinstance(expression.func, cst.Name) and not expression.args:
            # A factory: the suite's own, or the application's.
            bound = expression.func.value.lower()
            fixture = self._fixture(expression.func.value, function)
            if "session" in bound or (fixture is not None and "session" in fixture.name.lower()):
                return "session"
        return ""

    def _overrides(self, function: Function) -> list[cst.CSTNode]:
        """The statements with which a fixture has the application use the suite's session, and those that take that back."""
        if not isinstance(function.node.body, cst.IndentedBlock):
            return []
        functions = {
            each.node.name.value: each for each in function.module.functions if each.outer is function
        }
        found: list[cst.CSTNode] = []
        others = False
        for statement in _lines(function.node.body):
            for each in statement.body:
                match each:
                    case cst.Assign(
                        targets=[
                            cst.AssignTarget(
                                target=cst.Subscript(value=cst.Attribute(attr=cst.Name(value=attribute)))
                            )
                        ]
                    ):
                        if attribute != _OVERRIDES:
                            continue
                        if self._hands_session(each.value, functions, function):
                            found.append(statement)
                            if isinstance(each.value, cst.Name):
                                found.append(functions[each.value.value].node)
                        else:
                            others = True
        if found and not others:
            found += [
                each
                for each in _lines(function.node.body)
                if _OVERRIDES in _attributes(each) and each not in found
            ]
        return found

    def _hands_session(
        self, value: cst.BaseExpression, functions: dict[str, Function], function: Function
    ) -> bool:
        """Whether an override gives the application the suite's session."""
        if isinstance(value, cst.Lambda):
            handed = value.body
        elif isinstance(value, cst.Name) and value.value in functions:
            results = [
                each for each in own(functions[value.value].node) if isinstance(each, cst.Yield | cst.Return)
            ]
            if len(results) != 1 or not isinstance(results[0].value, cst.Name):
                return False
            handed = results[0].value
        else:
            return False
        return isinstance(handed, cst.Name) and self._fixture(handed.value, function) in self._sessions

    def _fixture(self, name: str, function: Function) -> Function | None:
        return self._suite.fixture(name, function) if name in function.parameters else None

    def _has_models(self, module: Module) -> bool:
        """Whether the suite has models of its own there, or below: no migration makes their tables."""
        folder = module.path.parent
        return any(
            b"__tablename__" in each.source
            for each in self._suite.modules
            if each is module or (module.path.name == "conftest.py" and folder in each.path.parents)
        )

    def _unneeded(self, candidates: set[Function]) -> set[Function]:
        """Those that nothing needs when the sessions are greenroom's."""
        gone = set(candidates)
        while True:
            needed = set()
            for module in self._suite.modules:
                for each in module.functions:
                    if each in gone or each in self._sessions or each.outer is not None:
                        continue
                    names = used_by(*(node for node in each.node.body.body if node not in self.without(each)))
                    for name in each.parameters:
                        fixture = self._suite.fixture(name, each)
                        if fixture in gone and (name in names or not module.target):
                            needed.add(fixture)
            needed |= {each for each in gone if each.name in self._by_name}
            if not needed & gone:
                return gone
            gone -= needed


class _Replacing(cst.CSTTransformer):
    """Replaces what the isolation has recognised in a module."""

    def __init__(self, module: Module, isolation: Isolation) -> None:
        super().__init__()
        self._module = module
        self._isolation = isolation
        self._removed: set[cst.CSTNode] = {
            node for function in module.functions for node in isolation.without(function)
        }

    def leave_FunctionDef(self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef) -> Any:
        function = self._module.function(original_node)
        kind = self._isolation.becomes(function)
        if kind == "gone" or original_node in self._removed:
            return cst.RemoveFromParent()
        if kind == "session":
            return self._session(function, updated_node)
        drops = self._isolation.drops(function)
        if drops:
            kept = [each for each in updated_node.params.params if each.name.value not in drops]
            if kept:
                kept[-1] = kept[-1].with_changes(comma=updated_node.params.params[-1].comma)
            updated_node = updated_node.with_changes(params=updated_node.params.with_changes(params=kept))
            if not kept:
                updated_node = updated_node.with_changes(whitespace_before_params=cst.SimpleWhitespace(""))
        body = updated_node.body
        if not isinstance(body, cst.IndentedBlock):
            return updated_node
        statements: list[Any] = [*body.body] or [cst.parse_statement("pass")]
        if self._isolation.without(function):
            lines = [each for each in statements[0].leading_lines if each.comment is not None]
            statements[0] = statements[0].with_changes(leading_lines=lines)
        return updated_node.with_changes(body=body.with_changes(body=statements))

    def _session(self, function: Function, node: cst.FunctionDef) -> cst.FunctionDef:
        annotated = next((each for each in (node.returns,) if each is not None), None)
        annotation = cst.Annotation(cst.Name("AsyncSession")) if annotated is not None else None
        known = "AsyncSession" in self._module.names
        body: list[Any] = [each for each in node.body.body if is_docstring(each)]
        return node.with_changes(
            params=cst.Parameters([cst.Param(cst.Name(SESSION), annotation=annotation if known else None)]),
            returns=annotation.with_changes(whitespace_before_indicator=cst.SimpleWhitespace(" "))
            if annotation and known
            else None,
            body=cst.IndentedBlock([*body, cst.parse_statement(f"return {SESSION}")]),
            whitespace_before_params=cst.SimpleWhitespace(""),
        )

    def leave_SimpleStatementLine(
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> Any:
        return cst.RemoveFromParent() if original_node in self._removed else updated_node

    def leave_Attribute(self, original_node: cst.Attribute, updated_node: cst.Attribute) -> cst.Attribute:
        function = self._module.enclosing(original_node)
        if (
            original_node.attr.value != "flush"
            or function is None
            or not isinstance(original_node.value, cst.Name)
        ):
            return updated_node
        if not self._isolation.commits(original_node.value.value, function):
            return updated_node
        return updated_node.with_changes(attr=cst.Name("commit"))


def _last(node: cst.CSTNode) -> str:
    return node.attr.value if isinstance(node, cst.Attribute) else dotted_of(node)


def _lines(block: cst.CSTNode) -> Iterator[cst.SimpleStatementLine]:
    return (each for each in own(block) if isinstance(each, cst.SimpleStatementLine))


def _attributes(node: cst.CSTNode) -> set[str]:
    return {each.attr.value for each in walk(node) if isinstance(each, cst.Attribute)}


def _named_by_text(suite: Suite) -> set[str]:
    """The fixtures that are asked for by a text: `usefixtures("tables")`, `getfixturevalue("engine")`."""
    return {
        each.value.strip("\"'")
        for module in suite.modules
        for call in module.nodes
        if isinstance(call, cst.Call) and _last(call.func) in ("usefixtures", "getfixturevalue")
        for each in walk(call)
        if isinstance(each, cst.SimpleString)
    }
