"""What the source of a frame tells: the expression that failed, and where a name in it was assigned."""

from __future__ import annotations

import ast
import linecache
import re
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from types import CodeType, TracebackType


class Assignment(NamedTuple):
    """Where a name got its value.

    Attributes:
        line: The number of the line.
        value: What stands on the right, its white space straightened.
        parameter: The name is a parameter of the function: its value comes from the caller.
        iterated: The name is the variable of a loop: its value is one of what stands on the right.
    """

    line: int
    value: str
    parameter: bool = False
    iterated: bool = False


def expression(entry: TracebackType) -> str:
    """The expression of a traceback's entry that was being evaluated, such as `provider.connection`; empty if unknown."""
    code = entry.tb_frame.f_code
    start, end, column, end_column = next(
        islice(code.co_positions(), entry.tb_lasti // 2, None), (None, None, None, None)
    )
    if start is None or end is None or column is None or end_column is None:
        return ""
    lines = [line.encode() for line in linecache.getlines(code.co_filename)[start - 1 : end]]
    if not lines:
        return ""
    # The end first: on one line it must not move when the beginning is cut off.
    lines[-1] = lines[-1][:end_column]
    lines[0] = lines[0][column:]
    if len(lines) > 1 and lines[0].startswith((b"with ", b"async with ", b"for ", b"async for ")):
        # Its head is what was evaluated, not its body.
        return lines[0].decode().partition("#")[0].strip().removesuffix(":")
    return " ".join(b"".join(lines).decode().split())


def statement(text: str) -> ast.stmt | None:
    """An expression, or a line, or the head of a block as it stands in a line; None if it is none or goes on below."""
    for body in ("", " pass", ": pass"):
        try:
            tree = ast.parse(straight(text) + body)
        except (SyntaxError, ValueError):
            continue
        return tree.body[0] if len(tree.body) == 1 else None
    return None


def straight(text: str) -> str:
    """A line as `statement` reads it."""
    return re.sub(r"^elif\b", "if", text.strip())


def assigned(code: CodeType, name: str, before: int) -> Assignment | None:
    """Where a function assigned a name above a line, or None if that is not plain to see: it was assigned twice, say.

    Args:
        code: The function's.
        name: The name.
        before: The line.
    """
    function = _function(code)
    if function is None:
        return None
    above = [node for node in ast.walk(function) if getattr(node, "lineno", before) < before]
    bound = sum(
        isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Store) for node in above
    )
    values = [(node, value) for node in above if (value := _value_for(node, name)) is not None]
    arguments = function.args
    parameters = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    if any(parameter.arg == name for parameter in parameters):
        return None if bound else Assignment(function.lineno, "", parameter=True)
    if bound != 1 or len(values) != 1:
        return None
    node, value = values[0]
    return Assignment(
        value.lineno,
        " ".join(ast.unparse(value).split()),
        iterated=isinstance(node, ast.For | ast.AsyncFor),
    )


def _function(code: CodeType) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    try:
        tree = ast.parse("".join(linecache.getlines(code.co_filename)))
    except SyntaxError:  # a template or a console: not a Python file
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == code.co_name:
            # co_firstlineno is that of the first decorator.
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            if first == code.co_firstlineno:
                return node
    return None


def _value_for(node: ast.AST, name: str) -> ast.expr | None:
    """The value that this piece of code gives to a name, if it does."""
    match node:
        case (
            ast.Assign(targets=[ast.Name(id=target)], value=value)
            | ast.AnnAssign(target=ast.Name(id=target), value=ast.expr() as value)
            | ast.NamedExpr(target=ast.Name(id=target), value=value)
            | ast.For(target=ast.Name(id=target), iter=value)
            | ast.AsyncFor(target=ast.Name(id=target), iter=value)
        ) if target == name:
            return value
    return None
