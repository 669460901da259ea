"""The signature of a function that becomes synchronous: its parameters, its decorators and what it says that it returns."""

from __future__ import annotations

from typing import Final

import libcst as cst

from greenroom.convert.reading.marks import is_backend, is_mark
from greenroom.convert.reading.modules import Function, Module
from greenroom.convert.reading.nodes import called, in_texts

TYPES: Final = {"run": "Run", "make_client": "MakeClient"}
"""The types of greenroom's fixtures in `greenroom.typing`."""

_GENERATORS: Final = {"AsyncGenerator": "Generator", "AsyncIterator": "Iterator", "AsyncIterable": "Iterable"}


def with_parameters(
    node: cst.FunctionDef, function: Function, needs: set[str], annotations: dict[str, cst.BaseExpression]
) -> cst.FunctionDef:
    """A function with greenroom's fixtures among its parameters, and with other annotations.

    Args:
        node: The function.
        function: The same, as it was.
        needs: The names of the fixtures.
        annotations: The annotations of its parameters, by name.
    """
    params = node.params
    changed = {
        kind: [
            each.with_changes(
                annotation=each.annotation.with_changes(annotation=annotations[each.name.value])
            )
            if each.annotation is not None
            else each
            for each in getattr(params, kind)
        ]
        for kind in ("posonly_params", "params", "kwonly_params")
    }
    added = [
        cst.Param(cst.Name(name), annotation=_annotation(name) if function.is_annotated else None)
        for name in sorted(needs - {*function.parameters})
    ]
    if not added:
        return node.with_changes(params=params.with_changes(**changed))
    own = changed["params"]
    if function.role == "helper" or _fills_from_the_right(function):
        position = 1 if function.owner is not None and own else 0
    else:
        position = next((number for number, each in enumerate(own) if each.default is not None), len(own))
    comma = cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
    if len(own) > 1 and isinstance(own[0].comma, cst.Comma):
        comma = own[0].comma
        if isinstance(comma.whitespace_after, cst.ParenthesizedWhitespace):
            comma = comma.with_changes(
                whitespace_after=comma.whitespace_after.with_changes(first_line=cst.TrailingWhitespace())
            )
    elif (
        own
        and isinstance(own[0].comma, cst.Comma)
        and isinstance(node.whitespace_before_params, cst.ParenthesizedWhitespace)
    ):
        comma = cst.Comma(whitespace_after=node.whitespace_before_params)
    if position == len(own) and own:
        last = own[-1]
        kept, ending = _comment_kept(comma, last.comma)
        own[-1] = last.with_changes(comma=kept, whitespace_after_param=cst.SimpleWhitespace(""))
        added = [each.with_changes(comma=comma) for each in added]
        added[-1] = added[-1].with_changes(comma=ending, whitespace_after_param=last.whitespace_after_param)
    elif own:
        added = [each.with_changes(comma=comma) for each in added]
    changed["params"] = [*own[:position], *added, *own[position:]]
    return node.with_changes(params=params.with_changes(**changed))


def _fills_from_the_right(function: Function) -> bool:
    """Whether Hypothesis gives values to the last parameters: `@given(integers())`."""
    for each in function.node.decorators:
        match each.decorator:
            case cst.Call(func=name, args=[cst.Arg(keyword=None), *_]) if function.module.qualified(name) in (
                "hypothesis.given",
                "hypothesis.core.given",
            ):
                return True
    return False


def _comment_kept(
    separator: cst.Comma, last: cst.Comma | cst.MaybeSentinel
) -> tuple[cst.Comma, cst.Comma | cst.MaybeSentinel]:
    """The commas behind the last parameter and the new ones: a comment stays with the parameter that it is about."""
    if not isinstance(last, cst.Comma) or not isinstance(last.whitespace_after, cst.ParenthesizedWhitespace):
        return separator, last
    line = last.whitespace_after.first_line
    if line.comment is None or not isinstance(separator.whitespace_after, cst.ParenthesizedWhitespace):
        return separator, last
    plain = last.whitespace_after.with_changes(first_line=separator.whitespace_after.first_line)
    if separator.whitespace_after.first_line.comment is not None:
        plain = plain.with_changes(first_line=cst.TrailingWhitespace())
    kept = separator.with_changes(whitespace_after=separator.whitespace_after.with_changes(first_line=line))
    return kept, last.with_changes(whitespace_after=plain)


def decorated(
    node: cst.FunctionDef, function: Function, *, narrowed: bool, keeps_backend: bool
) -> cst.FunctionDef:
    """A function without the marks of an asynchronous one, and with pytest's own fixture decorator.

    Args:
        node: The function.
        function: The same, as it was.
        narrowed: Its scope is the test's.
        keeps_backend: It uses the fixture `anyio_backend`, also when it is synchronous.
    """
    decorators = []
    for original, each in zip(function.node.decorators, node.decorators, strict=True):
        if is_mark(original.decorator, function.module) or (
            not keeps_backend and is_backend(original.decorator, function.module)
        ):
            continue
        is_fixture = original is function.fixture
        decorator = _fixture(each.decorator, function, narrowed=narrowed) if is_fixture else each.decorator
        decorators.append(each.with_changes(decorator=decorator))
    if len(decorators) == len(node.decorators):
        return node.with_changes(decorators=decorators)
    # The blank lines before the first decorator stay before the function.
    leading = [*node.leading_lines, *(each for each in node.lines_after_decorators if each.comment)]
    if not decorators:
        return node.with_changes(decorators=[], leading_lines=leading, lines_after_decorators=())
    return node.with_changes(decorators=decorators)


def _fixture(decorator: cst.BaseExpression, function: Function, *, narrowed: bool) -> cst.BaseExpression:
    of_pytest = function.module.qualified(called(decorator)).startswith("pytest_asyncio.")
    name = cst.Attribute(cst.Name("pytest"), cst.Name("fixture")) if of_pytest else called(decorator)
    if not isinstance(decorator, cst.Call):
        return name
    dropped = {"loop_scope"} | ({"scope"} if narrowed else set())
    args = [each for each in decorator.args if each.keyword is None or each.keyword.value not in dropped]
    if len(args) < len(decorator.args):
        if not args:
            return name
        args[-1] = args[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)
    return decorator.with_changes(func=name, args=args)


def generator(
    annotation: cst.BaseExpression, module: Module
) -> tuple[cst.BaseExpression, set[tuple[str, str]]]:
    """What a synchronous generator says that it returns, and what that needs to import."""
    if isinstance(annotation, cst.SimpleString):
        needed: set[tuple[str, str]] = set()

        def change(found: cst.BaseExpression) -> cst.BaseExpression:
            changed, needs = generator(found, module)
            needed.update(needs)
            return changed

        return in_texts(annotation, change), needed
    head = annotation.value if isinstance(annotation, cst.Subscript) else annotation
    qualified = module.qualified(head)
    place, _, name = qualified.rpartition(".")
    if name not in _GENERATORS or place not in ("typing", "collections.abc"):
        return annotation, set()
    found: cst.BaseExpression = cst.Name(_GENERATORS[name])
    added = {(place, _GENERATORS[name])}
    if isinstance(head, cst.Attribute):
        found, added = head.with_changes(attr=found), set()
    if not isinstance(annotation, cst.Subscript):
        return found, added
    elements = list(annotation.slice)
    if name == "AsyncGenerator" and len(elements) == 2:
        comma = cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
        elements[-1] = elements[-1].with_changes(comma=comma)
        elements.append(cst.SubscriptElement(cst.Index(cst.Name("None"))))
    return annotation.with_changes(value=found, slice=elements), added


def _annotation(name: str) -> cst.Annotation:
    return cst.Annotation(cst.Name(TYPES.get(name, "Engine")))
