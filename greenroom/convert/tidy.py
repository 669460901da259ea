"""What is left over when the functions of a module are rewritten: marks, imports, names that nothing uses any more."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import Any

import libcst as cst
import libcst.matchers as m

from greenroom.convert.marks import is_mark
from greenroom.convert.modules import Module, dotted_of
from greenroom.convert.plan import Plan


def tidied(
    tree: cst.Module, module: Module, plan: Plan, added: set[tuple[str, str]], *, shared: set[str]
) -> cst.Module:
    """A module without what its rewriting has left over, and with the imports that it needs.

    Args:
        tree: The rewritten module.
        module: The same, as it was.
        plan: What was done.
        added: What it needs to import: the module and the name, or no module and the module's name.
        shared: The names that other modules import from this one, which therefore stay.
    """
    staying = plan.staying
    tree = _visited(
        tree,
        _Marks(
            module,
            {each.owner.name.value for each in staying if each.module is module and each.owner is not None},
            keeps=any(each.module is module and each.role == "test" for each in staying),
        ),
    )
    tree = _visited(tree, _Transports(module))
    before, after = _names(module.tree), _names(tree)
    unused = {name for name in before - after - shared if name in module.names}
    adds = _Adding({each for each in added if each[1] in after and not _is_there(each, module)})
    return _visited(_visited(tree, adds), _Removing(unused, adds))


def _visited(tree: cst.Module, transformer: cst.CSTTransformer) -> cst.Module:
    return tree.visit(transformer)


def _is_there(wanted: tuple[str, str], module: Module) -> bool:
    place, name = wanted
    bound = module.names.get(name, "")
    if not place:
        return bound == name
    return bound.rpartition(".")[2] == name and bool(bound)


def _names(tree: cst.Module) -> set[str]:
    """The names that a module uses, those in annotations that are strings included."""
    found: set[str] = set()

    class Names(cst.CSTVisitor):
        def visit_Import(self, node: cst.Import) -> bool:  # noqa: ARG002 - the visitor's signature
            return False

        def visit_ImportFrom(self, node: cst.ImportFrom) -> bool:  # noqa: ARG002
            return False

        def visit_Attribute(self, node: cst.Attribute) -> bool:
            node.value.visit(self)
            return False

        def visit_Arg(self, node: cst.Arg) -> bool:
            node.value.visit(self)
            return False

        def visit_Name(self, node: cst.Name) -> None:
            found.add(node.value)

        def visit_Annotation(self, node: cst.Annotation) -> None:
            for each in m.findall(node, m.SimpleString()):
                assert isinstance(each, cst.SimpleString)
                found.update(re.findall(r"\w+", each.value))

    tree.visit(Names())
    for statement in tree.body:
        for each in statement.body if isinstance(statement, cst.SimpleStatementLine) else ():
            if isinstance(each, cst.Assign) and dotted_of(each.targets[0].target) == "__all__":
                found.update(re.findall(r"\w+", tree.code_for_node(each.value)))
    return found


class _Marks(cst.CSTTransformer):
    """Removes the marks of asynchronous tests from classes and from `pytestmark`, where no test is one any more."""

    def __init__(self, module: Module, classes: set[str], *, keeps: bool) -> None:
        super().__init__()
        self._module = module
        self._classes = classes
        self._keeps = keeps
        self._depth = 0

    def visit_FunctionDef(self, node: cst.FunctionDef) -> bool:  # noqa: ARG002 - the visitor's signature
        return False

    def leave_ClassDef(self, original_node: cst.ClassDef, updated_node: cst.ClassDef) -> cst.ClassDef:
        if original_node.name.value in self._classes:
            return updated_node
        decorators = [each for each in updated_node.decorators if not is_mark(each.decorator, self._module)]
        return updated_node.with_changes(decorators=decorators)

    def leave_SimpleStatementLine(
        self,
        original_node: cst.SimpleStatementLine,
        updated_node: cst.SimpleStatementLine,
    ) -> cst.BaseStatement | cst.RemovalSentinel:
        body = updated_node.body
        if (
            self._keeps
            or len(body) != 1
            or not isinstance(body[0], cst.Assign)
            or dotted_of(body[0].targets[0].target) != "pytestmark"
        ):
            return updated_node
        value = body[0].value
        if not isinstance(value, cst.List | cst.Tuple):
            return cst.RemoveFromParent() if is_mark(value, self._module) else updated_node
        elements = [each for each in value.elements if not is_mark(each.value, self._module)]
        if len(elements) == len(value.elements):
            return updated_node
        if not elements:
            return cst.RemoveFromParent()
        elements[-1] = elements[-1].with_changes(comma=value.elements[-1].comma)
        return updated_node.with_changes(
            body=[body[0].with_changes(value=value.with_changes(elements=elements))]
        )

    def leave_IndentedBlock(
        self, original_node: cst.IndentedBlock, updated_node: cst.IndentedBlock
    ) -> cst.IndentedBlock:
        if updated_node.body:
            return updated_node
        return updated_node.with_changes(body=[cst.SimpleStatementLine([cst.Pass()])])


class _Transports(cst.CSTTransformer):
    """Removes `transport = ASGITransport(…)` from functions in which nothing uses it any more."""

    def __init__(self, module: Module) -> None:
        super().__init__()
        self._module = module

    def leave_FunctionDef(
        self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef
    ) -> cst.FunctionDef:
        names = [each.value for each in m.findall(updated_node, m.Name()) if isinstance(each, cst.Name)]
        unused = m.SimpleStatementLine(
            body=[
                m.Assign(
                    targets=[m.AssignTarget(m.Name(m.MatchIfTrue(lambda name: names.count(name) == 1)))],
                    value=m.Call(func=m.MatchIfTrue(lambda func: dotted_of(func).endswith("ASGITransport"))),
                )
            ]
        )
        replaced = m.replace(updated_node, unused, cst.RemoveFromParent())
        assert isinstance(replaced, cst.FunctionDef)
        return replaced


class _Adding(cst.CSTTransformer):
    """Adds names to the imports of their modules that are there. The others are left for the block of imports.

    Attributes:
        left: What has no import yet.
    """

    def __init__(self, wanted: set[tuple[str, str]]) -> None:
        super().__init__()
        self.left = sorted(wanted)

    def visit_FunctionDef(self, node: cst.FunctionDef) -> bool:  # noqa: ARG002 - the visitor's signature
        return False

    def visit_If(self, node: cst.If) -> bool:  # noqa: ARG002 - such as `if TYPE_CHECKING`
        return False

    def leave_ImportFrom(self, original_node: cst.ImportFrom, updated_node: cst.ImportFrom) -> cst.ImportFrom:
        place = dotted_of(original_node.module)
        names = [name for module, name in self.left if module == place and module]
        if not names or original_node.relative or isinstance(updated_node.names, cst.ImportStar):
            return updated_node
        self.left = [each for each in self.left if each[0] != place]
        aliases = list(updated_node.names)
        comma = cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
        if len(aliases) > 1 and isinstance(aliases[0].comma, cst.Comma):
            comma = aliases[0].comma
        ending = aliases[-1].comma
        is_sorted = [dotted_of(each.name) for each in aliases] == sorted(
            (dotted_of(each.name) for each in aliases), key=_order
        )
        aliases += [cst.ImportAlias(cst.Name(name)) for name in names]
        if is_sorted:
            aliases.sort(key=lambda each: _order(dotted_of(each.name)))
        aliases = [each.with_changes(comma=comma) for each in aliases]
        aliases[-1] = aliases[-1].with_changes(comma=ending)
        return updated_node.with_changes(names=aliases)


class _Removing(cst.CSTTransformer):
    """Removes imports of names that nothing uses any more, and puts the new imports where the first of them was, or at the end.

    Args:
        unused: The names.
        adding: What is to be imported.
    """

    def __init__(self, unused: set[str], adding: _Adding) -> None:
        super().__init__()
        self._unused = unused
        self._adding = adding

    def leave_Module(self, original_node: cst.Module, updated_node: cst.Module) -> cst.Module:  # noqa: ARG002
        if not self._adding.left:
            return updated_node
        new = [_statement(*each) for each in self._adding.left]
        body: list[Any] = list(updated_node.body)
        places = [number for number, each in enumerate(body) if _is_import(each)]
        if not places:
            start = (
                1
                if body and m.matches(body[0], m.SimpleStatementLine(body=[m.Expr(m.SimpleString())]))
                else 0
            )
            return updated_node.with_changes(body=[*body[:start], *new, *body[start:]])
        for statement in new:
            _insert(body, statement)
        return updated_node.with_changes(body=body)

    def leave_SimpleStatementLine(
        self,
        original_node: cst.SimpleStatementLine,
        updated_node: cst.SimpleStatementLine,
    ) -> cst.BaseStatement | cst.RemovalSentinel:
        body = [
            each for each in (self._kept(statement) for statement in updated_node.body) if each is not None
        ]
        if len(body) == len(updated_node.body):
            return updated_node.with_changes(body=body)
        if body:
            body[-1] = body[-1].with_changes(semicolon=cst.MaybeSentinel.DEFAULT)
            return updated_node.with_changes(body=body)
        return cst.RemoveFromParent()

    def leave_If(
        self, original_node: cst.If, updated_node: cst.If
    ) -> cst.BaseStatement | cst.RemovalSentinel:
        if (
            isinstance(updated_node.body, cst.IndentedBlock)
            and not updated_node.body.body
            and updated_node.orelse is None
        ):
            return cst.RemoveFromParent()
        return updated_node

    def _kept(self, statement: cst.BaseSmallStatement) -> cst.BaseSmallStatement | None:
        if not isinstance(statement, cst.Import | cst.ImportFrom) or isinstance(
            statement.names, cst.ImportStar
        ):
            return statement
        names = [each for each in statement.names if _bound(each) not in self._unused]
        if len(names) == len(statement.names):
            return statement
        if not names:
            return None
        names[-1] = names[-1].with_changes(comma=statement.names[-1].comma)
        return statement.with_changes(names=names)


def _bound(alias: cst.ImportAlias) -> str:
    return (
        dotted_of(alias.asname.name) if alias.asname is not None else dotted_of(alias.name).partition(".")[0]
    )


def _order(name: str) -> tuple[bool, bool, str]:
    """Constants, classes, functions, as isort has it by default."""
    return (not name.isupper(), not name[:1].isupper(), name)


def _is_import(statement: Any) -> bool:
    return m.matches(statement, m.SimpleStatementLine(body=[m.OneOf(m.Import(), m.ImportFrom())]))


def _statement(place: str, name: str) -> cst.SimpleStatementLine:
    statement = cst.parse_statement(f"from {place} import {name}" if place else f"import {name}")
    assert isinstance(statement, cst.SimpleStatementLine)
    return statement


def _insert(body: list[Any], statement: cst.SimpleStatementLine) -> None:
    """Put an import among those of its kind, in their order."""
    wanted = _key(statement)
    block = _block(body, wanted[0])
    for number in block:
        key = _key(body[number])
        if key > wanted:
            new_section = key[0] != wanted[0]
            there = body[number]
            lines = there.leading_lines
            if new_section or not _blank(lines):
                body.insert(
                    number,
                    statement.with_changes(
                        leading_lines=() if new_section and number == block[0] else _first_blank(lines)
                    ),
                )
                if new_section and number == block[0] and not lines:
                    body[number + 1] = there.with_changes(leading_lines=[cst.EmptyLine(indent=False)])
                return
            body[number : number + 1] = [
                statement.with_changes(leading_lines=lines),
                there.with_changes(leading_lines=()),
            ]
            return
    blank = [cst.EmptyLine(indent=False)] if _key(body[block[-1]])[0] != wanted[0] else []
    body.insert(block[-1] + 1, statement.with_changes(leading_lines=blank))


def _block(body: Sequence[Any], section: int) -> list[int]:
    """Where the imports stand that a new one belongs to: those of its section, or the last ones."""
    blocks: list[list[int]] = []
    for number, each in enumerate(body):
        if _is_import(each):
            if not blocks or blocks[-1][-1] != number - 1:
                blocks.append([])
            blocks[-1].append(number)
    return next(
        (each for each in blocks if any(_key(body[number])[0] == section for number in each)), blocks[-1]
    )


def _first_blank(lines: Sequence[cst.EmptyLine]) -> list[cst.EmptyLine]:
    return [each for each in lines[:1] if each.comment is None]


def _blank(lines: Sequence[cst.EmptyLine]) -> bool:
    return all(each.comment is None for each in lines)


def _key(statement: cst.SimpleStatementLine) -> tuple[int, int, str]:
    """How imports are sorted: the standard library, other packages, the project's own; `import` before `from`."""
    each = statement.body[0]
    if isinstance(each, cst.ImportFrom):
        name, kind = dotted_of(each.module), 1
    else:
        assert isinstance(each, cst.Import)
        name, kind = dotted_of(each.names[0].name), 0
    head = name.partition(".")[0]
    if isinstance(each, cst.ImportFrom) and each.relative:
        return 3, 1, name
    if head == "__future__":
        return 0, 0, name
    section = 1 if head in sys.stdlib_module_names else 3 if head in _OWN else 2
    return section, kind, name


_OWN = {"app", "src", "tests", "backend"}
