"""The rewriting of one module, as the plan has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import libcst as cst
import libcst.matchers as m

from greenroom.convert.planning.plan import Plan
from greenroom.convert.planning.regions import Region, statement_of
from greenroom.convert.reading.clients import LIFESPANS, Creation
from greenroom.convert.reading.kinds import CLIENT, KINDS, SESSION
from greenroom.convert.reading.modules import Function, Module
from greenroom.convert.reading.nodes import bound_by, dotted_of, in_texts, own, used_by, walk
from greenroom.convert.reading.values import Values
from greenroom.convert.writing import signatures

_Flat = Any
"""A statement, several in its place, or none."""

_POOL: Final = 100
"""Threads at most for what `gather` did at once: as many as it has elements begin."""

_MADE_ON_LOOP: Final = LIFESPANS | {"aiohttp.ClientSession", "async_asgi_testclient.TestClient"}
"""Context managers that ask for the running loop when they are made."""

_TYPES: Final = {
    CLIENT.name: ({"httpx.AsyncClient", "httpx2.AsyncClient"}, "", "TestClient"),
    SESSION.name: (
        {"sqlalchemy.ext.asyncio.AsyncSession", "sqlmodel.ext.asyncio.session.AsyncSession"},
        "sqlalchemy.orm",
        "Session",
    ),
}
"""For each kind, its asynchronous types, and where the synchronous one is."""


class Rewriter(cst.CSTTransformer):
    """Rewrites a module.

    Attributes:
        added: What the new text needs to import: the module and the name.

    Args:
        module: The module.
        plan: What is to be done.
        values: The suite's values.
        app: The application that greenroom is configured for, such as `app.main.app`; empty if it is not known.
        test_client: The module that the suite takes `TestClient` from.
    """

    def __init__(self, module: Module, plan: Plan, values: Values, app: str, test_client: str) -> None:
        super().__init__()
        self.added: set[tuple[str, str]] = set()
        self._module = module
        self._plan = plan
        self._values = values
        self._app = app
        self._test_client = test_client
        self._in: list[Function] = []
        self._needs: dict[Function, set[str]] = {}
        self._taken: dict[Function, set[str]] = {}
        self._before: dict[cst.CSTNode, list[cst.BaseStatement]] = {}
        self._threads: set[cst.CSTNode] = set()
        self._lists: dict[str, cst.BaseExpression] = {}
        self._moved: dict[int, list[Any]] = {}

    # -- functions ---------------------------------------------------------------------------------------------------

    def visit_FunctionDef(self, node: cst.FunctionDef) -> None:
        self._in.append(self._module.function(node))

    def leave_FunctionDef(self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef) -> _Flat:
        function = self._in.pop()
        if self._plan.is_obsolete(function):
            return cst.RemoveFromParent()
        needs = self._needs.get(function, set())
        if function.outer is not None and function not in self._plan.synchronous:
            return self._placed(original_node, updated_node)
        if (
            function.role == "helper"
            and function in self._plan.synchronous
            and self._plan.needs_run(function)
        ):
            needs = needs | {"run"}
        annotations = {
            name: self._synchronous_type(annotation, self._kind(name, function))
            for name, annotation in function.annotations.items()
        }
        changed = signatures.with_parameters(updated_node, function, needs, annotations)
        if needs and function.is_annotated:
            self.added |= {
                ("greenroom.typing", signatures.TYPES[each]) for each in needs if each in signatures.TYPES
            }
            if "engine" in needs:
                self.added.add(("sqlalchemy", "Engine"))
        if function in self._plan.synchronous:
            changed = changed.with_changes(asynchronous=None, returns=self._returns(changed, function))
        if function not in self._plan.staying:
            changed = signatures.decorated(
                changed,
                function,
                narrowed=function in self._plan.narrowed,
                keeps_backend=self._plan.uses_fixture("anyio_backend", function),
            )
            if changed.decorators != updated_node.decorators and function.fixture is not None:
                self.added.add(("", "pytest"))
        return self._placed(original_node, changed)

    def _kind(self, name: str, function: Function) -> str:
        return self._plan.is_synchronous(cst.Name(name), function)

    def _returns(self, node: cst.FunctionDef, function: Function) -> cst.Annotation | None:
        if node.returns is None:
            return None
        annotation = self._synchronous_type(node.returns.annotation, self._plan.returned(function))
        if any(isinstance(each, cst.Yield) for each in own(function.node)):
            annotation, added = signatures.generator(annotation, self._module)
            self.added |= added
        return node.returns.with_changes(annotation=annotation)

    def _synchronous_type(self, annotation: cst.BaseExpression, kind: str) -> cst.BaseExpression:
        """An annotation with the synchronous type in the place of the asynchronous one."""
        if kind not in _TYPES:
            return annotation
        annotation = in_texts(annotation, lambda found: self._synchronous_type(found, kind))
        names, place, name = _TYPES[kind]
        replaced = m.replace(
            annotation,
            m.MatchIfTrue(
                lambda node: (
                    isinstance(node, cst.Name | cst.Attribute) and self._module.qualified(node) in names
                )
            ),
            cst.Name(name),
        )
        assert isinstance(replaced, cst.BaseExpression)
        if not annotation.deep_equals(replaced):
            self.added.add((place or self._test_client, name))
        return replaced

    def leave_AnnAssign(self, original_node: cst.AnnAssign, updated_node: cst.AnnAssign) -> cst.AnnAssign:
        if not self._in or not isinstance(original_node.target, cst.Name):
            return updated_node
        kind = self._kind(original_node.target.value, self._in[-1])
        annotation = self._synchronous_type(updated_node.annotation.annotation, kind)
        return updated_node.with_changes(
            annotation=updated_node.annotation.with_changes(annotation=annotation)
        )

    # -- expressions -------------------------------------------------------------------------------------------------

    def leave_Await(self, original_node: cst.Await, updated_node: cst.Await) -> cst.BaseExpression:
        function = self._in[-1] if self._in else None
        if function is None or self._stays_on_loop(original_node):
            return updated_node
        awaited = updated_node.expression
        if self._plan.is_dropped(original_node, function):
            return _bare(awaited, updated_node)
        if function not in self._plan.synchronous:
            return updated_node
        regions = self._plan.regions_of(function)
        if original_node in regions.awaits:
            statement = statement_of(original_node, self._module)
            assert statement is not None
            if (gather := self._plan.in_threads(original_node, function)) is not None:
                self._threads.add(statement)
                self.added.add(("concurrent.futures", "ThreadPoolExecutor"))
                assert isinstance(awaited, cst.Call)
                return _results(awaited, keeps_errors=gather.keeps_errors, lists=self._lists)
            name = self._fresh(
                function, "gathered" if dotted_of(_function_of(awaited)).endswith("gather") else "on_the_loop"
            )
            inner = cst.Return(updated_node.with_changes(lpar=(), rpar=()))
            self._before.setdefault(statement, []).append(
                _coroutine(name, [cst.SimpleStatementLine([inner])])
            )
            return self._run(cst.Call(cst.Name(name)), updated_node)
        return self._run(awaited, updated_node)

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.BaseExpression:
        if not self._in:
            return updated_node
        function = self._in[-1]
        if original_node in self._values.creations and self._plan.is_synchronous(original_node, function):
            creation = Creation(updated_node, self._module, self._values.transports(function))
            self._need("make_client", function)
            return creation.call(own=self._is_started(creation.app, function))
        if original_node in self._values.openings and self._plan.is_synchronous(original_node, function):
            self._need("engine", function)
            self.added.add(("sqlalchemy.orm", "Session"))
            return self._values.openings[original_node].call()
        if isinstance(original_node.func, cst.Attribute) and isinstance(updated_node.func, cst.Attribute):
            kind = self._plan.is_synchronous(original_node.func.value, function)
            if kind:
                return _synchronous_call(updated_node, updated_node.func, kind)
        helper = self._plan.calls_synchronous(original_node, function)
        if helper is not None and self._plan.needs_run(helper):
            self._need("run", function)
            if helper.outer is None:
                run = cst.Arg(cst.Name("run"))
                return updated_node.with_changes(args=[run, *updated_node.args])
        return updated_node

    def leave_CompFor(self, original_node: cst.CompFor, updated_node: cst.CompFor) -> Any:
        return self._iterated(original_node, updated_node)

    def leave_For(self, original_node: cst.For, updated_node: cst.For) -> _Flat:
        return self._placed(original_node, self._iterated(original_node, updated_node))

    def _iterated(self, original: Any, updated: Any) -> Any:  # a loop or one of a comprehension
        function = self._in[-1] if self._in else None
        if original.asynchronous is None or function is None or self._stays_on_loop(original):
            return updated
        if self._plan.is_iterated(original.iter, function):
            return updated.with_changes(asynchronous=None)
        if function not in self._plan.synchronous:
            return updated
        self._need("run", function)
        each = cst.Call(cst.Attribute(cst.Name("run"), cst.Name("each")), [cst.Arg(updated.iter)])
        return updated.with_changes(asynchronous=None, iter=each)

    # -- statements --------------------------------------------------------------------------------------------------

    def leave_With(self, original_node: cst.With, updated_node: cst.With) -> _Flat:
        function = self._in[-1] if self._in else None
        if original_node.asynchronous is None or function is None or self._stays_on_loop(original_node):
            return self._placed(original_node, updated_node)
        entered = [self._plan.is_entered(each.item, function) for each in original_node.items]
        if function not in self._plan.synchronous and not all(entered):
            return self._placed(original_node, updated_node)
        items = []
        for original, updated, is_entered in zip(
            original_node.items, updated_node.items, entered, strict=True
        ):
            if self._is_own_lifespan(original, function):
                continue
            if not is_entered:
                self._need("run", function)
                context = cst.Call(
                    cst.Attribute(cst.Name("run"), cst.Name("context")),
                    [cst.Arg(self._manager(original, updated))],
                )
                items.append(updated.with_changes(item=context))
            else:
                items.append(updated)
        if not items and isinstance(updated_node.body, cst.IndentedBlock):
            first, *rest = list[Any](updated_node.body.body)
            first = first.with_changes(leading_lines=[*updated_node.leading_lines, *first.leading_lines])
            return cst.FlattenSentinel([first, *rest])
        if items:
            items[-1] = items[-1].with_changes(
                comma=cst.MaybeSentinel.DEFAULT if len(items) < len(entered) else items[-1].comma
            )
        return self._placed(
            original_node, updated_node.with_changes(asynchronous=None, items=items or updated_node.items)
        )

    def _manager(self, original: cst.WithItem, updated: cst.WithItem) -> cst.BaseExpression:
        """A context manager, or what makes it on the loop if it asks for that when it is made."""
        if (
            isinstance(original.item, cst.Call)
            and self._module.qualified(original.item.func) in _MADE_ON_LOOP
        ):
            return cst.Lambda(cst.Parameters(), updated.item)
        return updated.item

    def leave_SimpleStatementLine(
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> _Flat:
        match updated_node.body:
            case [cst.Assign(targets=[cst.AssignTarget(target=cst.Name(value=name))]) as assign]:
                if self._is_for_threads(original_node.body[0]):
                    self._lists[name] = assign.value
                    return cst.RemoveFromParent()
        return self._placed(original_node, updated_node)

    def leave_If(self, original_node: cst.If, updated_node: cst.If) -> _Flat:
        return self._placed(original_node, updated_node)

    def leave_While(self, original_node: cst.While, updated_node: cst.While) -> _Flat:
        return self._placed(original_node, updated_node)

    def leave_Try(self, original_node: cst.Try, updated_node: cst.Try) -> _Flat:
        return self._placed(original_node, updated_node)

    def leave_TryStar(self, original_node: cst.TryStar, updated_node: cst.TryStar) -> _Flat:
        return self._placed(original_node, updated_node)

    def leave_Match(self, original_node: cst.Match, updated_node: cst.Match) -> _Flat:
        return self._placed(original_node, updated_node)

    def leave_ClassDef(self, original_node: cst.ClassDef, updated_node: cst.ClassDef) -> _Flat:
        return self._placed(original_node, updated_node)

    def _placed(self, original: cst.BaseStatement, updated: Any) -> Any:
        """A statement, with what has to stand before it, or around it, or with it in one coroutine."""
        function = self._in[-1] if self._in else None
        if function is not None and function in self._plan.synchronous:
            for region in self._plan.regions_of(function).ranges.values():
                if original in region.statements:
                    return self._moved_on(region, original, updated, function)
        if original in self._threads:
            inner = updated.with_changes(leading_lines=())
            pool = cst.parse_statement(f"with ThreadPoolExecutor({_POOL}) as threads:\n    pass")
            assert isinstance(pool, cst.With)
            return pool.with_changes(leading_lines=updated.leading_lines, body=cst.IndentedBlock([inner]))
        if original in self._before:
            first, *rest = self._before[original]
            first = first.with_changes(leading_lines=self._spaced(original, updated.leading_lines))
            rest = [each.with_changes(leading_lines=[_BLANK]) for each in rest]
            return cst.FlattenSentinel([first, *rest, updated.with_changes(leading_lines=[_BLANK])])
        return updated

    def _moved_on(self, region: Region, original: cst.BaseStatement, updated: Any, function: Function) -> Any:
        moved: list[Any] = self._moved.setdefault(id(region), [])
        moved.append(updated)
        if original is not region.statements[-1]:
            return cst.RemoveFromParent()
        name = self._fresh(function, "on_the_loop")
        body: list[cst.BaseStatement] = []
        if region.outer:
            body.append(cst.parse_statement(f"nonlocal {', '.join(region.outer)}"))
        leading = moved[0].leading_lines
        body += [moved[0].with_changes(leading_lines=()), *moved[1:]]
        names = ", ".join(region.returned)
        if names:
            body.append(cst.parse_statement(f"return {names}"))
        self._need("run", function)
        call = cst.parse_statement(f"{names} = run({name}())" if names else f"run({name}())")
        first = _coroutine(name, body).with_changes(leading_lines=self._spaced(region.statements[0], leading))
        return cst.FlattenSentinel([first, call.with_changes(leading_lines=[_BLANK])])

    def _spaced(self, statement: cst.CSTNode, lines: Sequence[cst.EmptyLine]) -> list[cst.EmptyLine]:
        """The lines before a local function: at least one, unless it is the first in its block."""
        block = self._module.parent(statement)
        is_first = isinstance(block, cst.IndentedBlock) and block.body[0] is statement
        return [*lines] if is_first or any(each.comment is None for each in lines) else [_BLANK, *lines]

    # -- small things ------------------------------------------------------------------------------------------------

    def _run(self, awaited: cst.BaseExpression, place: cst.Await) -> cst.BaseExpression:
        self._need("run", self._in[-1])
        return _bare(cst.Call(cst.Name("run"), [cst.Arg(_without_parentheses(awaited))]), place)

    def _need(self, fixture: str, function: Function) -> None:
        self._needs.setdefault(function.outermost, set()).add(fixture)

    def _stays_on_loop(self, node: cst.CSTNode) -> bool:
        """Whether a node is in a range, which stays as it is: also one of a function that it is nested in."""
        for function in self._in:
            if function in self._plan.synchronous:
                regions = self._plan.regions_of(function)
                if not regions.awaits and not regions.ranges:
                    continue
                ranges = regions.ranges.values()
                moved = {statement for region in ranges for statement in region.statements}
                if node in moved or any(each in moved for each in self._module.above(node)):
                    return True
                if any(
                    isinstance(each, cst.Await)
                    and each in regions.awaits
                    and not self._plan.in_threads(each, function)
                    for each in self._module.above(node)
                ):
                    return True
        return False

    def _is_for_threads(self, statement: cst.CSTNode) -> bool:
        """Whether a statement only lists what threads are to call."""
        function = self._in[-1] if self._in else None
        if function is None or function not in self._plan.synchronous:
            return False
        awaits = self._plan.regions_of(function).awaits
        gathers = [self._plan.in_threads(each, function) for each in awaits]
        return any(each is not None and statement in each.statements for each in gathers)

    def _fresh(self, function: Function, name: str) -> str:
        taken = self._taken.setdefault(function, used_by(function.node) | bound_by(function.node.body))
        found, number = name, 2
        while found in taken:
            found, number = f"{name}_{number}", number + 1
        taken.add(found)
        return found

    def _is_own(self, app: cst.BaseExpression | None, function: Function) -> bool:
        """Whether an expression is the application that greenroom is configured for, as it is imported."""
        if app is None or not self._app:
            return False
        if isinstance(app, cst.Attribute) and app.attr.value == "app" and isinstance(app.value, cst.Name):
            lifespan = self._lifespan_of(app.value.value, function)
            if lifespan is not None:
                return self._is_own(lifespan, function)
        head = dotted_of(app).partition(".")[0]
        if head in function.parameters:
            return False
        found = self._module.qualified(app)
        return bool(found) and f".{found}".endswith(f".{self._app}")

    def _is_started(self, app: cst.BaseExpression | None, function: Function) -> bool:
        """Whether an expression is that application, and the function starts it up, as `make_client` does."""
        items = [each for each in own(function.node) if isinstance(each, cst.WithItem)]
        return self._is_own(app, function) and any(self._is_own_lifespan(each, function) for each in items)

    def _is_own_lifespan(self, item: cst.WithItem, function: Function) -> bool:
        """Whether it starts up that application, as `make_client` does, for a client that becomes synchronous."""
        call = item.item
        if (
            not isinstance(call, cst.Call)
            or self._module.qualified(call.func) not in LIFESPANS
            or not call.args
        ):
            return False
        if not self._is_own(call.args[0].value, function):
            return False
        makes = any(
            maker is function and self._plan.is_synchronous(made, function)
            for made, maker in self._values.made
        )
        name = dotted_of(item.asname.name) if item.asname is not None else ""
        names = [each for each in walk(function.node) if isinstance(each, cst.Name) and each.value == name]
        apps = [
            each
            for each in walk(function.node)
            if isinstance(each, cst.Attribute) and dotted_of(each) == f"{name}.app"
        ]
        return makes and (not name or len(names) == len(apps) + 1)

    def _lifespan_of(self, name: str, function: Function) -> cst.BaseExpression | None:
        """The application whose lifespan a name in a function is."""
        for each in own(function.node):
            match each:
                case cst.WithItem(item=cst.Call() as call, asname=cst.AsName(name=cst.Name(value=bound))) if (
                    bound == name
                ):
                    if self._module.qualified(call.func) in LIFESPANS and call.args:
                        return call.args[0].value
        return None


_BLANK: Final = cst.EmptyLine(indent=False)


def _function_of(node: cst.BaseExpression) -> cst.BaseExpression | None:
    return node.func if isinstance(node, cst.Call) else None


def _bare(expression: cst.BaseExpression, place: cst.Await) -> cst.BaseExpression:
    """An expression in the place of an awaited one: in its parentheses only if these hold comments or several lines."""
    lines = any(isinstance(each.whitespace_after, cst.ParenthesizedWhitespace) for each in place.lpar)
    if not lines or not place.lpar:
        return expression
    return expression.with_changes(lpar=place.lpar, rpar=place.rpar)


def _without_parentheses(expression: cst.BaseExpression) -> cst.BaseExpression:
    multiline = any(
        isinstance(each.whitespace_after, cst.ParenthesizedWhitespace) for each in expression.lpar
    )
    needs = isinstance(expression, cst.Tuple | cst.GeneratorExp | cst.NamedExpr | cst.Yield)
    if not expression.lpar or multiline or needs:
        return expression
    return expression.with_changes(lpar=expression.lpar[1:], rpar=expression.rpar[:-1])


def _coroutine(name: str, body: Sequence[cst.BaseStatement]) -> cst.FunctionDef:
    return cst.FunctionDef(
        name=cst.Name(name),
        params=cst.Parameters(),
        body=cst.IndentedBlock(list(body)),
        asynchronous=cst.Asynchronous(),
    )


def _synchronous_call(call: cst.Call, target: cst.Attribute, kind: str) -> cst.Call:
    """The call of a synchronous object's method, for one of an asynchronous one's."""
    known = KINDS[kind]
    method = target.attr.value
    if kind == SESSION.name and method == "run_sync" and call.args:
        function = call.args[0].value
        if isinstance(function, cst.Lambda | cst.IfExp | cst.BooleanOperation) and not function.lpar:
            function = function.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
        return call.with_changes(func=function, args=[cst.Arg(target.value), *call.args[1:]])
    name = known.awaited.get(method) or known.iterated.get(method) or method
    return call.with_changes(func=target.with_changes(attr=cst.Name(name)))


def _results(
    gather: cst.Call, *, keeps_errors: bool, lists: dict[str, cst.BaseExpression]
) -> cst.BaseExpression:
    """The results of what threads do at once, in the order of the calls."""
    elements: list[cst.BaseElement] = []
    for argument in gather.args:
        value = argument.value
        if argument.keyword is not None:
            continue
        if isinstance(value, cst.Name):
            value = lists[value.value]
        match value:
            case cst.ListComp(elt=cst.Call() as call) | cst.GeneratorExp(elt=cst.Call() as call):
                elements.append(cst.StarredElement(cst.ListComp(elt=_submitted(call), for_in=value.for_in)))
            case cst.List() | cst.Tuple():
                elements += [cst.Element(_submitted(each.value)) for each in value.elements]
            case _:
                elements.append(cst.Element(_submitted(value)))
    calls: cst.BaseExpression = cst.List(elements)
    if len(elements) == 1 and isinstance(elements[0], cst.StarredElement):
        calls = elements[0].value
    result = "each.exception() or each.result()" if keeps_errors else "each.result()"
    found = cst.parse_expression(f"[{result} for each in calls]")
    assert isinstance(found, cst.ListComp)
    return found.with_changes(for_in=found.for_in.with_changes(iter=calls))


def _submitted(call: cst.BaseExpression) -> cst.Call:
    assert isinstance(call, cst.Call)
    return cst.Call(cst.Attribute(cst.Name("threads"), cst.Name("submit")), [cst.Arg(call.func), *call.args])
