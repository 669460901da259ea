"""Nodes of LibCST's trees: what is in them, quickly, and what they say."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Final

import libcst as cst
import libcst.matchers as m

_LAYOUT: Final = (
    "whitespace", "leading_lines", "lines_after", "lpar", "rpar", "comma", "equal", "header", "footer", "semicolon", "colon", "lbracket",
    "rbracket", "lbrace", "rbrace", "dot", "asynchronous", "indent",
)  # fmt: skip
"""How the fields begin that hold nothing but layout."""


@functools.cache
def _fields(kind: type[cst.CSTNode]) -> tuple[str, ...]:
    return tuple(name for name in kind.__dataclass_fields__ if not name.startswith(_LAYOUT))


def _is_node(value: object, known: dict[type, bool] = {}) -> bool:  # noqa: B006 - a cache: `isinstance` of an ABC is slow
    kind = type(value)
    if kind not in known:
        known[kind] = issubclass(kind, cst.CSTNode)
    return known[kind]


def children(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    """What is directly in a node, layout excepted. LibCST's own `children` visits and copies, which takes 20 times as long."""
    for name in _fields(type(node)):
        value = getattr(node, name)
        if _is_node(value):
            yield value
        elif isinstance(value, list | tuple):
            for each in value:
                if _is_node(each):
                    yield each


def walk(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    """A node and all that is in it, in the order of the text."""
    yield node
    for each in children(node):
        yield from walk(each)


def own(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    """All that is in a node, but for what is in functions and classes within it."""
    for each in children(node):
        yield each
        if not isinstance(each, cst.FunctionDef | cst.ClassDef):
            yield from own(each)


def dotted_of(node: cst.CSTNode | None) -> str:
    """`a.b.c` for a name or a chain of attributes; empty for everything else."""
    if isinstance(node, cst.Name):
        return node.value
    if isinstance(node, cst.Attribute):
        base = dotted_of(node.value)
        return f"{base}.{node.attr.value}" if base else ""
    return ""


def called(node: cst.BaseExpression) -> cst.BaseExpression:
    """What is called, or the expression itself if it is no call."""
    return node.func if isinstance(node, cst.Call) else node


def text_of(node: cst.BaseExpression | None) -> str:
    """The text of a string literal; empty for everything else."""
    if isinstance(node, cst.SimpleString):
        found = node.evaluated_value
        return found if isinstance(found, str) else ""
    return ""


def bound_by(*nodes: cst.CSTNode) -> set[str]:
    """The names that statements bind."""
    found: set[str] = set()
    for node in nodes:
        inside = () if isinstance(node, cst.FunctionDef | cst.ClassDef) else own(node)
        found |= bound_at((node, *inside))
    return found


def bound_at(nodes: Iterable[cst.CSTNode]) -> set[str]:
    """The names that nodes bind themselves, without what is in them."""
    found: set[str] = set()
    handlers = set()  # Python itself unbinds the names of caught exceptions
    for each in nodes:
        match each:
            case cst.ExceptHandler() | cst.ExceptStarHandler():
                handlers.add(each.name)
            case cst.FunctionDef() | cst.ClassDef():
                found.add(each.name.value)
            case cst.AssignTarget() | cst.AnnAssign() | cst.AugAssign() | cst.For() | cst.NamedExpr():
                found |= _targets(each.target)
            case cst.AsName() if each not in handlers:
                found |= _targets(each.name)
            case cst.Import() | cst.ImportFrom():
                if not isinstance(each.names, cst.ImportStar):
                    found |= {bound_name(name) for name in each.names}
    return found


def _targets(node: cst.CSTNode) -> set[str]:
    match node:
        case cst.Name():
            return {node.value}
        case cst.Tuple() | cst.List():
            return set().union(*(_targets(each.value) for each in node.elements))
        case cst.StarredElement():
            return _targets(node.value)
    return set()


def bound_name(alias: cst.ImportAlias) -> str:
    """The name that an import binds."""
    return (
        dotted_of(alias.asname.name) if alias.asname is not None else dotted_of(alias.name).partition(".")[0]
    )


def used_by(*nodes: cst.CSTNode) -> set[str]:
    """The names that occur in statements, nested functions included; those of attributes and keywords are no names."""
    found: set[str] = set()
    rest = list(nodes)
    while rest:
        node = rest.pop()
        match node:
            case cst.Name():
                found.add(node.value)
            case cst.Attribute() | cst.Arg():
                rest.append(node.value)
            case _:
                rest += children(node)
    return found


def is_docstring(statement: cst.CSTNode) -> bool:
    """Whether a statement is a text that stands alone."""
    match statement:
        case cst.SimpleStatementLine(body=[cst.Expr(value=cst.SimpleString() | cst.ConcatenatedString())]):
            return True
    return False


def in_texts(
    annotation: cst.BaseExpression, change: Callable[[cst.BaseExpression], cst.BaseExpression]
) -> cst.BaseExpression:
    """An annotation with what is written in strings changed as well.

    Args:
        annotation: The annotation.
        change: Changes one that is written without quotes.
    """

    def changed(text: cst.CSTNode, _: object) -> cst.CSTNode:
        assert isinstance(text, cst.SimpleString)
        try:
            found = cst.parse_expression(text_of(text))
        except cst.ParserSyntaxError:
            return text
        after = change(found)
        if after.deep_equals(found):
            return text
        return text.with_changes(value=f"{text.quote}{cst.Module([]).code_for_node(after)}{text.quote}")

    replaced = m.replace(annotation, m.SimpleString(), changed)
    assert isinstance(replaced, cst.BaseExpression)
    return replaced


def without_first(
    block: cst.IndentedBlock, original: cst.IndentedBlock, removed: Collection[cst.CSTNode]
) -> cst.IndentedBlock:
    """A block without the blank lines that stood between its first statement, if that was removed, and the next one.

    Args:
        block: The block.
        original: The same, as it was.
        removed: The statements that were removed.
    """
    first = block.body[0]
    if original.body[0] not in removed or not isinstance(first, _WITH_LINES):
        return block
    lines = [*first.leading_lines]
    while lines and lines[0].comment is None:
        del lines[0]
    return block.with_changes(body=[first.with_changes(leading_lines=lines), *block.body[1:]])


_WITH_LINES: Final = (
    cst.SimpleStatementLine, cst.FunctionDef, cst.ClassDef, cst.If, cst.For, cst.While, cst.With, cst.Try, cst.TryStar, cst.Match,
)  # fmt: skip
