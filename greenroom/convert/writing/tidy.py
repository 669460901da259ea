"""What is left over when the functions of a module are rewritten: marks, and transports that no client uses any more."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import libcst as cst
import libcst.matchers as m

from greenroom.convert.planning.plan import Plan
from greenroom.convert.reading.marks import is_backend, is_mark, pytestmark
from greenroom.convert.reading.modules import Function, Module
from greenroom.convert.reading.nodes import dotted_of, used_by, walk, without_first


def tidied(tree: cst.Module, module: Module, plan: Plan, *, shared: Collection[str]) -> cst.Module:
    """A module without what its rewriting has left over.

    Args:
        tree: The rewritten module.
        module: The same, as it was.
        plan: What was done.
        shared: The names that other modules import from this one.
    """
    if b"mark" in module.source:
        tree = tree.visit(_Marks(module, plan, shared))
    stays = any(each.module is module and each.role == "test" for each in plan.staying)
    if b"pytest.param" in module.source and not stays:
        tree = tree.visit(_Parameters(module))
    return tree.visit(_Transports(module)) if b"ASGITransport" in module.source else tree


class _Marks(cst.CSTTransformer):
    """Removes the marks of asynchronous tests from classes, from `pytestmark` and from variables, where no test is one any more."""

    def __init__(self, module: Module, plan: Plan, shared: Collection[str]) -> None:
        super().__init__()
        self._module = module
        self._plan = plan
        self._shared = shared
        staying = [each for each in plan.staying if each.module is module]
        self._classes = {each.owner for each in staying}
        self._keeps = any(each.role == "test" for each in staying)
        self._removed: set[cst.CSTNode] = set()
        self._lines: list[cst.EmptyLine] = []

    def visit_FunctionDef(self, node: cst.FunctionDef) -> bool:
        self._lines = []
        return False

    def leave_ClassDef(self, original_node: cst.ClassDef, updated_node: cst.ClassDef) -> cst.ClassDef:
        if original_node in self._classes:
            return updated_node
        self._lines = []
        tests = [each for each in self._module.functions if each.owner is original_node]
        decorators = [each for each in updated_node.decorators if not self._goes(each.decorator, tests)]
        return updated_node.with_changes(decorators=decorators)

    def _goes(self, expression: cst.BaseExpression, tests: Iterable[Function]) -> bool:
        """Whether a mark of these tests is one of asynchronous tests."""
        return is_mark(expression, self._module) or (
            is_backend(expression, self._module)
            and not any(self._plan.uses_fixture("anyio_backend", each) for each in tests)
        )

    def leave_SimpleStatementLine(
        self,
        original_node: cst.SimpleStatementLine,
        updated_node: cst.SimpleStatementLine,
    ) -> cst.BaseStatement | cst.RemovalSentinel:
        lines, self._lines = self._lines, []
        if lines and not updated_node.leading_lines:
            updated_node = updated_node.with_changes(leading_lines=lines)
        if self._keeps or len(updated_node.body) != 1:
            return updated_node
        statement = updated_node.body[0]
        value = pytestmark(statement)
        if value is None:
            return self._without(original_node) if self._is_left_over(statement) else updated_node
        tests = self._module.functions
        if not isinstance(value, cst.List | cst.Tuple):
            return self._without(original_node) if self._goes(value, tests) else updated_node
        elements = [each for each in value.elements if not self._goes(each.value, tests)]
        if len(elements) == len(value.elements):
            return updated_node
        if not elements:
            return self._without(original_node)
        elements[-1] = elements[-1].with_changes(comma=value.elements[-1].comma)
        changed = statement.with_changes(value=value.with_changes(elements=elements))
        return updated_node.with_changes(body=[changed])

    def _is_left_over(self, statement: cst.BaseSmallStatement) -> bool:
        """Whether it gives a mark of asynchronous tests a name that nothing else uses."""
        match statement:
            case cst.Assign(targets=[cst.AssignTarget(target=cst.Name(value=name))]):
                if name in self._shared or not is_mark(statement.value, self._module):
                    return False
                parents = [
                    self._module.parent(each)
                    for each in self._module.nodes
                    if isinstance(each, cst.Name) and each.value == name
                ]
                return all(isinstance(each, cst.AssignTarget | cst.Decorator) for each in parents)
        return False

    def _without(self, statement: cst.SimpleStatementLine) -> cst.RemovalSentinel:
        self._removed.add(statement)
        self._lines = [each for each in statement.leading_lines if each.comment is None]
        return cst.RemoveFromParent()

    def leave_IndentedBlock(
        self, original_node: cst.IndentedBlock, updated_node: cst.IndentedBlock
    ) -> cst.IndentedBlock:
        if not updated_node.body:
            return updated_node.with_changes(body=[cst.SimpleStatementLine([cst.Pass()])])
        return without_first(updated_node, original_node, self._removed)


class _Parameters(cst.CSTTransformer):
    """Removes the marks of asynchronous tests from `pytest.param(…)`."""

    def __init__(self, module: Module) -> None:
        super().__init__()
        self._module = module

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.Call:
        if self._module.qualified(updated_node.func) != "pytest.param":
            return updated_node
        args = [kept for each in updated_node.args if (kept := self._kept(each)) is not None]
        if len(args) < len(updated_node.args) and args:
            args[-1] = args[-1].with_changes(comma=updated_node.args[-1].comma)
        return updated_node.with_changes(args=args)

    def _kept(self, argument: cst.Arg) -> cst.Arg | None:
        if argument.keyword is None or argument.keyword.value != "marks":
            return argument
        value = argument.value
        if not isinstance(value, cst.List | cst.Tuple):
            return None if is_mark(value, self._module) else argument
        elements = [each for each in value.elements if not is_mark(each.value, self._module)]
        if len(elements) == len(value.elements):
            return argument
        if not elements:
            return None
        elements[-1] = elements[-1].with_changes(comma=value.elements[-1].comma)
        return argument.with_changes(value=value.with_changes(elements=elements))


class _Transports(cst.CSTTransformer):
    """Removes `transport = ASGITransport(…)` from functions in which nothing uses it any more."""

    def __init__(self, module: Module) -> None:
        super().__init__()
        self._module = module

    def leave_FunctionDef(
        self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef
    ) -> cst.FunctionDef:
        if "ASGITransport" not in used_by(updated_node):
            return updated_node
        names = [each.value for each in walk(updated_node) if isinstance(each, cst.Name)]
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
