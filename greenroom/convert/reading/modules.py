"""The modules of a suite, and the functions in them, as they are written."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import libcst as cst
from libcst.metadata import MetadataWrapper, PositionProvider

from greenroom.convert.reading.nodes import bound_name, called, children, dotted_of, text_of, walk

Role = Literal["test", "fixture", "setup", "helper", "nested"]

_SETUPS: Final = {
    f"{kind}_{level}" for kind in ("setup", "teardown") for level in ("method", "class", "module", "function")
}

_FIXTURES: Final = {"pytest.fixture", "pytest_asyncio.fixture", "pytest_asyncio.plugin.fixture"}

_TESTCASES: Final = {"unittest.IsolatedAsyncioTestCase", "unittest.async_case.IsolatedAsyncioTestCase"}


class Function:
    """A function as it is written.

    Attributes:
        module: Where it is.
        node: It.
        outer: The function that it is in, if it is nested.
        owner: The class that it is a method of.
        role: What it is for.
        fixture: The decorator that makes it a fixture.
        scope: The scope of the fixture.
    """

    def __init__(
        self, module: Module, node: cst.FunctionDef, outer: Function | None, owner: cst.ClassDef | None
    ) -> None:
        self.module = module
        self.node = node
        self.outer = outer
        self.owner = owner
        self.fixture = next(
            (each for each in node.decorators if module.qualified(called(each.decorator)) in _FIXTURES), None
        )
        self.role: Role = self._role()
        self.scope = self._argument("scope") or "function"

    @property
    def name(self) -> str:
        """Its name; that of the fixture if that is another one."""
        return (
            self._argument("name") or self.node.name.value
            if self.fixture is not None
            else self.node.name.value
        )

    @property
    def title(self) -> str:
        """Its name with that of its class, or of what it is nested in."""
        if self.outer is not None:
            return f"{self.outer.title}.{self.node.name.value}"
        return f"{self.owner.name.value}.{self.node.name.value}" if self.owner else self.node.name.value

    @property
    def node_id(self) -> str:
        """What pytest calls it within its file: `TestIt::test_it`."""
        classes = [each.name.value for each in self.module.above(self.node) if isinstance(each, cst.ClassDef)]
        return "::".join([*reversed(classes), self.node.name.value])

    @property
    def outermost(self) -> Function:
        """The function that it is nested in, directly or not; itself if it is not."""
        return self if self.outer is None else self.outer.outermost

    @property
    def is_async(self) -> bool:
        """Whether it is an `async def`."""
        return self.node.asynchronous is not None

    @property
    def parameters(self) -> list[str]:
        """The names of its parameters in order, `self` included."""
        found = self.node.params
        return [each.name.value for each in (*found.posonly_params, *found.params, *found.kwonly_params)]

    @property
    def annotations(self) -> dict[str, cst.BaseExpression]:
        """The annotations of its parameters."""
        found = self.node.params
        return {
            each.name.value: each.annotation.annotation
            for each in (*found.posonly_params, *found.params, *found.kwonly_params)
            if each.annotation is not None
        }

    @property
    def is_annotated(self) -> bool:
        """Whether its author annotates what there is to annotate."""
        return bool(self.annotations) or (
            self.node.returns is not None and not {*self.parameters} - {"self", "cls"}
        )

    def _role(self) -> Role:
        if self.fixture is not None:
            return "fixture"
        if self.outer is not None:
            return "nested"
        name = self.node.name.value
        if name.startswith("test") and (self.owner is None or self.module.collects(self.owner)):
            return "test"
        return "setup" if name in _SETUPS else "helper"

    def _argument(self, name: str) -> str:
        if self.fixture is None or not isinstance(self.fixture.decorator, cst.Call):
            return ""
        for each in self.fixture.decorator.args:
            if each.keyword is not None and each.keyword.value == name:
                return text_of(each.value) or "unknown"
        return ""


class Module:
    """A file of the suite.

    Attributes:
        path: The file.
        target: Whether it is to be converted.
        source: What is in it.
        tree: That, parsed.
        names: What the imports bind, by name: `httpx.AsyncClient`.
        assigned: What its own variables are, by name.
        functions: Its functions, nested ones after those that they are in.
        nodes: All its nodes, in the order of the text.

    Args:
        path: The file.
        dotted: Its name when it is imported from the suite's root folder.
        target: Whether it is to be converted.
        text: What is in it, if that is not what the file has.

    Raises:
        ParserSyntaxError: It is not Python.
        UnicodeDecodeError: It is not in the encoding that it claims.
    """

    def __init__(self, path: Path, dotted: str, *, target: bool, text: bytes | None = None) -> None:
        self.path = path
        self.target = target
        self.dotted = dotted
        self.source = path.read_bytes() if text is None else text
        self.tree = cst.parse_module(self.source)
        self.names = _imported(self.tree, dotted, is_package=path.name == "__init__.py")
        self.assigned = _assigned(self.tree)
        self.functions: list[Function] = []
        self.nodes: list[cst.CSTNode] = []
        self._of: dict[cst.FunctionDef, Function] = {}
        self._parents: dict[cst.CSTNode, cst.CSTNode] = {}
        self._within: dict[cst.CSTNode, Function | None] = {}
        self._walk(self.tree, None, None)

    def _walk(self, node: cst.CSTNode, function: Function | None, owner: cst.ClassDef | None) -> None:
        self.nodes.append(node)
        if isinstance(node, cst.FunctionDef):
            function = Function(self, node, function, owner)
            self.functions.append(function)
            self._of[node] = function
            owner = None
        elif isinstance(node, cst.ClassDef):
            owner = node
        self._within[node] = function
        for each in children(node):
            self._parents[each] = node
            self._walk(each, function, owner)

    def function(self, node: cst.FunctionDef) -> Function:
        """The function of a node."""
        return self._of[node]

    def line(self, node: cst.CSTNode) -> int:
        """The line where a node begins."""
        line: int = self._positions[node].start.line
        return line

    @functools.cached_property
    def _positions(self) -> Mapping[cst.CSTNode, Any]:
        """Where each node is: asked for only if something is to be said about one."""
        return MetadataWrapper(self.tree, unsafe_skip_copy=True).resolve(PositionProvider)

    def parent(self, node: cst.CSTNode) -> cst.CSTNode:
        """What a node is in."""
        return self._parents[node]

    def above(self, node: cst.CSTNode) -> Iterator[cst.CSTNode]:
        """All that a node is in, from the inside to the outside."""
        while (found := self._parents.get(node)) is not None:
            node = found
            yield node

    def enclosing(self, node: cst.CSTNode) -> Function | None:
        """The function whose body, parameters or decorators a node is in."""
        if isinstance(node, cst.FunctionDef):
            return self._of[node].outer
        return self._within[node]

    def qualified(self, expression: cst.CSTNode | None) -> str:
        """What a name or an attribute of imported names leads to, such as `httpx.AsyncClient`; empty for everything else."""
        dotted = dotted_of(expression)
        head, _, rest = dotted.partition(".")
        if not head:
            return ""
        found = self.names.get(head, "")
        return f"{found}.{rest}" if found and rest else found

    def collects(self, owner: cst.ClassDef) -> bool:
        """Whether pytest collects a class's methods that are called `test…`."""
        return owner.name.value.startswith("Test") or self.is_testcase(owner)

    def is_testcase(self, owner: cst.ClassDef) -> bool:
        """Whether it is one of unittest's, which have their own loops."""
        bases = [self.qualified(each.value) for each in owner.bases]
        if any(each in _TESTCASES or each.startswith("unittest.") for each in bases):
            return True
        return any(
            isinstance(each.value, cst.Name) and self.is_testcase(known)
            for each in owner.bases
            for known in self.tree.body
            if isinstance(known, cst.ClassDef)
            and known is not owner
            and known.name.value == dotted_of(each.value)
        )

    def level(self, name: str) -> Function | None:
        """The function of this name at the level of the module."""
        return next(
            (
                each
                for each in self.functions
                if not each.outer and not each.owner and each.node.name.value == name
            ),
            None,
        )


def _assigned(tree: cst.Module) -> dict[str, cst.BaseExpression]:
    """The variables of a module that are assigned once, on a line of their own."""
    found: dict[str, cst.BaseExpression] = {}
    for statement in tree.body:
        for each in statement.body if isinstance(statement, cst.SimpleStatementLine) else ():
            match each:
                case cst.Assign(targets=[cst.AssignTarget(target=cst.Name(value=name))]):
                    found[name] = each.value
    return found


def _imported(tree: cst.Module, dotted: str, *, is_package: bool) -> dict[str, str]:
    """What a module's imports bind, wherever they stand."""
    names: dict[str, str] = {}
    package = dotted.split(".") if is_package else dotted.split(".")[:-1]

    for node in walk(tree):
        match node:
            case cst.Import():
                for each in node.names:
                    whole = dotted_of(each.name)
                    bound = bound_name(each)
                    names[bound] = whole if each.asname is not None else bound
            case cst.ImportFrom():
                start = package[: len(package) - len(node.relative) + 1] if node.relative else []
                base = ".".join([*start, *([dotted_of(node.module)] if node.module else [])])
                if isinstance(node.names, cst.ImportStar):
                    names[f"* {base}"] = base
                else:
                    names |= {bound_name(each): f"{base}.{dotted_of(each.name)}" for each in node.names}
    return names
