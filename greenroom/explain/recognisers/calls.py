"""Which call made the coroutine that a line uses, as the source has it."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator

from greenroom.diagnosis.frames import Frame
from greenroom.explain import source


def used(users: Frame, message: str) -> tuple[str, str]:
    """The variable that has the coroutine, and the call that made it; each empty if there is none or the source does not tell.

    Args:
        users: The line.
        message: What its error says: which attribute the coroutine lacks, or what else it cannot do.
    """
    attribute = re.search(r"has no attribute '(\w+)'$", message)
    for text in filter(None, (users.expression, users.text)):
        node = source.statement(text)
        if attribute or "subscriptable" in message or "item assignment" in message:
            value = _part(node, attribute[1] if attribute else "")
        elif "unpack" in message:
            value = node.value if isinstance(node, ast.Assign) else None
        else:
            value = _argument(node, source.statement(users.text), whole=text == users.text)
        found = _made(users, text, value)
        if found is not None:
            return found
    return "", ""


def asserted(users: Frame, text: str, name: str) -> tuple[str, str] | None:
    """The same, of an assertion's text."""
    node = source.statement(text)
    if not isinstance(node, ast.Assert):
        return None
    test = node.test.operand if isinstance(node.test, ast.UnaryOp) else node.test
    sides = [test.left, *test.comparators] if isinstance(test, ast.Compare) else [test]
    found = [made for side in sides if (made := _made(users, text, side)) is not None]
    if len(found) > 1:
        found = [made for made in found if re.search(rf"\b{name}\(", made[1])]
    return found[0] if len(found) == 1 else None


def _made(users: Frame, text: str, value: ast.expr | None) -> tuple[str, str] | None:
    """The same, of an expression that has the coroutine."""
    if isinstance(value, ast.Call):
        return "", ast.get_source_segment(source.straight(text), value) or ast.unparse(value)
    if not isinstance(value, ast.Name):
        return None
    assigned = source.assigned(users.code, value.id, users.number) if users.code else None
    node = source.statement(assigned.value) if assigned and not assigned.iterated else None
    plain = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    return value.id, assigned.value if assigned and plain else ""


def named(text: str, name: str) -> str:
    """The call of a function of this name that stands in a line; empty if there are none or several."""
    node = source.statement(text)
    calls = [
        each
        for each in (ast.walk(node) if node else ())
        if isinstance(each, ast.Call)
        and (each.func.attr if isinstance(each.func, ast.Attribute) else getattr(each.func, "id", "")) == name
    ]
    return ast.unparse(calls[0]) if len(calls) == 1 else ""


def _part(node: ast.stmt | None, attribute: str) -> ast.expr | None:
    """What the attribute is read of, or what is subscripted if there is none. In a whole line there must be one such part."""
    if isinstance(node, ast.Expr) and (value := _owner(node.value, attribute)):
        return value
    values = [value for each in (ast.walk(node) if node else ()) if (value := _owner(each, attribute))]
    return values[0] if len(values) == 1 else None


def _owner(node: ast.AST, attribute: str) -> ast.expr | None:
    match node:
        case ast.Attribute(value=value, attr=name) if name == attribute:
            return value
        case ast.Subscript(value=value) if not attribute:
            return value
    return None


def _argument(node: ast.stmt | None, line: ast.stmt | None, *, whole: bool) -> ast.expr | None:
    """What is iterated, entered, or given to a built-in function: by what was evaluated, and by the line that it is in."""
    heads = [head for each in (ast.walk(line) if line else ()) for head in _heads(each)]
    values = getattr(node, "value", None)
    match values if isinstance(node, ast.Expr | ast.Assign | ast.Return) else node:
        case ast.Call(func=ast.Name(id=name), args=[value]) if name in dir(builtins):
            return value
        case ast.Name() as value:
            return value
        case ast.expr() as value if any(ast.dump(value) == ast.dump(head) for head in heads):
            return value
        case ast.AST() as block if not whole or len(heads) == 1:
            return next(_heads(block), None)
    return None


def _heads(node: ast.AST) -> Iterator[ast.expr]:
    match node:
        case ast.For(iter=value) | ast.AsyncFor(iter=value):
            yield value
        case ast.With(items=items):
            yield from (item.context_expr for item in items)
        case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
            yield from (generator.iter for generator in node.generators)
