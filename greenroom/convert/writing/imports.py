"""The imports of a rewritten module: those that it needs are added, those that nothing uses any more are removed."""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any

import libcst as cst

from greenroom.convert.reading.modules import Module
from greenroom.convert.reading.nodes import (
    bound_name,
    children,
    dotted_of,
    is_docstring,
    text_of,
    walk,
    without_first,
)


def imported(
    tree: cst.Module,
    module: Module,
    added: set[tuple[str, str]],
    *,
    shared: Collection[str],
    own: Collection[str],
) -> cst.Module:
    """A module with the imports that it needs, and no others of those that it had.

    Args:
        tree: The rewritten module.
        module: The same, as it was.
        added: What it needs to import: the module and the name, or no module and the module's name.
        shared: The names that other modules import from this one, which therefore stay.
        own: The packages of the project itself, which are imported after all others.
    """
    before, after = _names(module.tree), _names(tree)
    unused = {name for name in before - after if name in module.names} - {*shared}
    adding = _Adding({each for each in added if each[1] in after and not _is_there(each, module)})
    if adding.left:
        tree = tree.visit(adding)
    wanted = defaultdict(list)
    for place, name in adding.left:
        wanted[place].append(name)
    body: list[Any] = list(tree.body)
    for place, names in wanted.items():
        _insert(body, _statement(place, names), own)
    if unused:
        body = list(tree.with_changes(body=body).visit(_Removing(unused)).body)
    header = list(tree.header)
    if body and body[0] is not module.tree.body[0] and hasattr(body[0], "leading_lines"):
        lines = list(body[0].leading_lines)
        if header:
            while lines and header[-1].comment is None:
                del header[-1]
        else:
            while lines and lines[0].comment is None:
                del lines[0]
            body[0] = body[0].with_changes(leading_lines=lines)
    return tree.with_changes(body=body, header=header)


def _is_there(wanted: tuple[str, str], module: Module) -> bool:
    place, name = wanted
    bound = module.names.get(name, "")
    return bound == name if not place else bound.rpartition(".")[2] == name


def _statement(place: str, names: list[str]) -> cst.SimpleStatementLine:
    text = (
        f"from {place} import {', '.join(sorted(names, key=_order))}"
        if place
        else f"import {', '.join(names)}"
    )
    statement = cst.parse_statement(text)
    assert isinstance(statement, cst.SimpleStatementLine)
    return statement


def _names(tree: cst.Module) -> set[str]:
    """The names that a module uses, those in annotations that are strings included."""
    found: set[str] = set()

    def look(node: cst.CSTNode) -> None:
        match node:
            case cst.Import() | cst.ImportFrom():
                return
            case cst.Attribute() | cst.Arg():
                look(node.value)
                return
            case cst.Name():
                found.add(node.value)
            case cst.Annotation():
                texts = [each.value for each in walk(node) if isinstance(each, cst.SimpleString)]
                found.update(re.findall(r"\w+", " ".join(texts)))
            case cst.Assign() if dotted_of(node.targets[0].target) == "__all__":
                found.update(text_of(each) for each in walk(node.value) if isinstance(each, cst.SimpleString))
        for each in children(node):
            look(each)

    look(tree)
    return found


class _Adding(cst.CSTTransformer):
    """Adds names to the imports of their modules that are there.

    Attributes:
        left: What has no import yet.
    """

    def __init__(self, wanted: set[tuple[str, str]]) -> None:
        super().__init__()
        self.left = sorted(wanted)

    def visit_FunctionDef(self, node: cst.FunctionDef) -> bool:
        return False

    def visit_ClassDef(self, node: cst.ClassDef) -> bool:
        return False

    def visit_If(self, node: cst.If) -> bool:  # such as `if TYPE_CHECKING`
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
        there = [dotted_of(each.name) for each in aliases]
        aliases += [cst.ImportAlias(cst.Name(name)) for name in names]
        if there == sorted(there, key=_order):
            aliases.sort(key=lambda each: _order(dotted_of(each.name)))
        aliases = [each.with_changes(comma=comma) for each in aliases]
        aliases[-1] = aliases[-1].with_changes(comma=ending)
        return updated_node.with_changes(names=aliases)


class _Removing(cst.CSTTransformer):
    """Removes imports of names that nothing uses any more. Blank lines before one of them stay before the next one.

    Args:
        unused: The names.
    """

    def __init__(self, unused: set[str]) -> None:
        super().__init__()
        self._unused = unused
        self._lines: Sequence[cst.EmptyLine] = ()
        self._before_try: list[Sequence[cst.EmptyLine]] = []
        self._removed: set[cst.CSTNode] = set()

    def leave_SimpleStatementLine(
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> cst.BaseStatement | cst.RemovalSentinel:
        body = [
            each for each in (self._kept(statement) for statement in updated_node.body) if each is not None
        ]
        lines, self._lines = self._lines, ()
        if not body:
            self._lines = updated_node.leading_lines or lines
            self._removed.add(original_node)
            return cst.RemoveFromParent()
        if len(body) < len(updated_node.body):
            body[-1] = body[-1].with_changes(semicolon=cst.MaybeSentinel.DEFAULT)
        changed = updated_node.with_changes(body=body)
        if lines and not updated_node.leading_lines and _is_import(updated_node):
            return changed.with_changes(leading_lines=lines)
        return changed

    def leave_If(
        self, original_node: cst.If, updated_node: cst.If
    ) -> cst.BaseStatement | cst.RemovalSentinel:
        block = updated_node.body
        if isinstance(block, cst.IndentedBlock) and not block.body and updated_node.orelse is None:
            return cst.RemoveFromParent()
        return updated_node

    def visit_Try(self, node: cst.Try) -> None:
        self._before_try.append(self._lines)
        self._lines = ()

    def leave_Try(
        self, original_node: cst.Try, updated_node: cst.Try
    ) -> cst.BaseStatement | cst.RemovalSentinel:
        blocks = [updated_node.body, *(each.body for each in updated_node.handlers)]
        empty = all(isinstance(each, cst.IndentedBlock) and not each.body for each in blocks)
        lines, self._lines = self._before_try.pop(), ()
        if empty and updated_node.orelse is None and updated_node.finalbody is None:
            self._lines = original_node.leading_lines or lines
            return cst.RemoveFromParent()
        return updated_node.with_changes(leading_lines=updated_node.leading_lines or lines)

    def leave_IndentedBlock(
        self, original_node: cst.IndentedBlock, updated_node: cst.IndentedBlock
    ) -> cst.IndentedBlock:
        if not updated_node.body:
            return updated_node
        return without_first(updated_node, original_node, self._removed)

    def _kept(self, statement: cst.BaseSmallStatement) -> cst.BaseSmallStatement | None:
        if not isinstance(statement, cst.Import | cst.ImportFrom) or isinstance(
            statement.names, cst.ImportStar
        ):
            return statement
        names = [each for each in statement.names if bound_name(each) not in self._unused]
        if len(names) == len(statement.names):
            return statement
        if not names:
            return None
        names[-1] = names[-1].with_changes(comma=statement.names[-1].comma)
        return statement.with_changes(names=names)


# -- where a new import stands ----------------------------------------------------------------------------------------


def _insert(body: list[Any], statement: cst.SimpleStatementLine, own: Collection[str]) -> None:
    """Put an import among those of its section, in their order."""
    wanted = _key(statement, own)
    block = _block(body, wanted[0], own)
    if not block:
        start = 1 if body and is_docstring(body[0]) else 0
        blank = [cst.EmptyLine(indent=False)] if start else []
        body.insert(start, statement.with_changes(leading_lines=blank))
        return
    before = [number for number in block if _key(body[number], own) <= wanted]
    blank = [cst.EmptyLine(indent=False)]
    if before and _key(body[before[-1]], own)[0] == wanted[0]:
        body.insert(before[-1] + 1, statement)
        return
    after = before[-1] + 1 if before else block[0]
    there = body[after] if after in block else None
    if there is None:
        body.insert(after, statement.with_changes(leading_lines=blank))
    elif not there.leading_lines and after != block[0]:
        body.insert(after, statement)  # its author does not separate the sections
    elif _key(there, own)[0] == wanted[0]:
        # The first of its section: the blank lines before that stay where they are.
        body[after] = there.with_changes(
            leading_lines=[each for each in there.leading_lines if each.comment is not None]
        )
        body.insert(
            after,
            statement.with_changes(
                leading_lines=[each for each in there.leading_lines if each.comment is None]
            ),
        )
    else:
        body[after] = there.with_changes(leading_lines=there.leading_lines or blank)
        body.insert(after, statement.with_changes(leading_lines=blank if before else ()))


def _block(body: Sequence[Any], section: int, own: Collection[str]) -> list[int]:
    """Where the imports stand that a new one belongs to: those of its section, or the last ones."""
    blocks: list[list[int]] = []
    for number, each in enumerate(body):
        if _is_import(each):
            if not blocks or blocks[-1][-1] != number - 1:
                blocks.append([])
            blocks[-1].append(number)
    if not blocks:
        return []
    return next(
        (each for each in blocks if any(_key(body[number], own)[0] == section for number in each)), blocks[-1]
    )


def _key(statement: cst.SimpleStatementLine, own: Collection[str]) -> tuple[int, int, str]:
    """How imports are sorted: the standard library, other packages, the project's own; `import` before `from`."""
    each = statement.body[0]
    assert isinstance(each, cst.Import | cst.ImportFrom)
    if isinstance(each, cst.ImportFrom):
        name, kind = dotted_of(each.module), 1
        if each.relative:
            return 4, kind, name
    else:
        name, kind = dotted_of(each.names[0].name), 0
    head = name.partition(".")[0]
    if head == "__future__":
        return 0, kind, name
    section = 1 if head in sys.stdlib_module_names else 3 if head in own else 2
    return section, kind, name


def _order(name: str) -> tuple[bool, bool, str]:
    """Constants, classes, functions, as isort has it by default."""
    return not name.isupper(), not name[:1].isupper(), name


def _is_import(statement: Any) -> bool:
    return isinstance(statement, cst.SimpleStatementLine) and isinstance(
        statement.body[0], cst.Import | cst.ImportFrom
    )
