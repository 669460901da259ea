"""What is left over when the functions of a module are rewritten: marks, and transports that no client uses any more."""

from __future__ import annotations

import libcst as cst
import libcst.matchers as m

from greenroom.convert.marks import is_mark
from greenroom.convert.modules import Module
from greenroom.convert.nodes import dotted_of, used_by, walk
from greenroom.convert.plan import Plan


def tidied(tree: cst.Module, module: Module, plan: Plan) -> cst.Module:
    """A module without what its rewriting has left over.

    Args:
        tree: The rewritten module.
        module: The same, as it was.
        plan: What was done.
    """
    if b"mark." in module.source:
        staying = [each for each in plan.staying if each.module is module]
        classes = {each.owner.name.value for each in staying if each.owner is not None}
        tree = tree.visit(_Marks(module, classes, keeps=any(each.role == "test" for each in staying)))
    return tree.visit(_Transports(module)) if b"ASGITransport" in module.source else tree


class _Marks(cst.CSTTransformer):
    """Removes the marks of asynchronous tests from classes and from `pytestmark`, where no test is one any more."""

    def __init__(self, module: Module, classes: set[str], *, keeps: bool) -> None:
        super().__init__()
        self._module = module
        self._classes = classes
        self._keeps = keeps
        self._depth = 0

    def visit_FunctionDef(self, node: cst.FunctionDef) -> bool:
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
