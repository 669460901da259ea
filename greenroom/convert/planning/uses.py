"""Where a client or a session is used: whether a synchronous one could be used there as well."""

from __future__ import annotations

from typing import Final

import libcst as cst

from greenroom.convert.reading.gathers import gather_around
from greenroom.convert.reading.kinds import KINDS, Kind
from greenroom.convert.reading.modules import Function
from greenroom.convert.reading.nodes import dotted_of, own
from greenroom.convert.reading.suite import Suite
from greenroom.convert.reading.values import Value, Values

_HARMLESS: Final = (
    # Its definition.
    cst.FunctionDef, cst.Attribute, cst.Param, cst.AssignTarget, cst.AsName, cst.NameItem, cst.Nonlocal,
    # Where it is followed to.
    cst.AnnAssign, cst.Assign, cst.WithItem, cst.Return, cst.Yield, cst.Await,
    # Where it is only looked at.
    cst.Assert, cst.Comparison, cst.ComparisonTarget, cst.BooleanOperation, cst.UnaryOperation, cst.Expr,
)  # fmt: skip


class Uses:
    """Judges the uses of values.

    Args:
        suite: The suite.
        values: Its values.
    """

    def __init__(self, suite: Suite, values: Values) -> None:
        self._suite = suite
        self._values = values

    def reason(self, value: Value, function: Function, name: cst.Name) -> str:
        """Why a value cannot be synchronous where it is named; empty if it can."""
        module = function.module
        parent = module.parent(name)
        (kind,) = (KINDS[each] for each in value.kinds)
        if isinstance(parent, cst.Attribute) and parent.value is name:
            return self._attribute(kind, parent, function)
        if isinstance(parent, cst.Arg):
            return self._argument(kind, name, parent, function)
        if isinstance(parent, cst.Yield) and function.fixture is None:
            return f"the {kind.name} is handed to whoever calls {function.name}"
        if isinstance(parent, cst.Lambda):
            return f"the {kind.name} is handed to the application"
        elsewhere = isinstance(parent, cst.Assign) and not all(
            isinstance(each.target, cst.Name) for each in parent.targets
        )
        return (
            f"the {kind.name} is put into something else"
            if elsewhere or not isinstance(parent, _HARMLESS)
            else ""
        )

    def _attribute(self, kind: Kind, attribute: cst.Attribute, function: Function) -> str:
        module = function.module
        method = attribute.attr.value
        call = module.parent(attribute)
        if method not in kind.asynchronous or (
            method in kind.awaited and self._is_kept_method(attribute, function)
        ):
            return ""
        if (
            not isinstance(call, cst.Call)
            or call.func is not attribute
            or method in kind.forbidden
            or (method == "send" and "stream" in _keywords(call))
        ):
            return f"{kind.name}.{method} is used in a way that a synchronous {kind.name} does not know"
        around = module.parent(call)
        if method in kind.awaited and (
            isinstance(around, cst.Await) or gather_around(call, module) is not None
        ):
            return ""
        if method in kind.entered and isinstance(around, cst.WithItem):
            return ""
        if method in kind.iterated and (
            (isinstance(around, cst.For | cst.CompFor) and around.iter is call)
            or (isinstance(around, cst.Await) and isinstance(module.parent(around), cst.For | cst.CompFor))
        ):
            return ""
        return f"{kind.name}.{method}(…) is not awaited where it is called"

    def _argument(self, kind: Kind, name: cst.Name, argument: cst.Arg, function: Function) -> str:
        module = function.module
        call = module.parent(argument)
        if argument.keyword is name:
            return ""
        assert isinstance(call, cst.Call)
        if dotted_of(call.func) == "getattr" and len(call.args) == 2 and call.args[0] is argument:
            outer = module.parent(call)
            if (
                isinstance(outer, cst.Call)
                and outer.func is call
                and isinstance(module.parent(outer), cst.Await)
            ):
                return ""
            if self._is_kept_method(call, function):
                return ""
        if self._values.hand_over(name, call, argument, function):
            return ""
        shown = dotted_of(call.func) or "something else"
        return f"the {kind.name} is handed to {shown}()"

    def _is_kept_method(self, method: cst.CSTNode, function: Function) -> bool:
        """Whether a method is given a name, and is awaited wherever it is called under that."""
        module = function.module
        match module.parent(method):
            case cst.Assign(targets=[cst.AssignTarget(target=cst.Name(value=name))]):
                pass
            case _:
                return False
        for each in own(function.node):
            if (
                isinstance(each, cst.Name)
                and each.value == name
                and not isinstance(module.parent(each), cst.AssignTarget)
            ):
                call = module.parent(each)
                if (
                    not isinstance(call, cst.Call)
                    or call.func is not each
                    or not isinstance(module.parent(call), cst.Await)
                ):
                    return False
        return self._values.method(name, function) is not None


def _keywords(call: cst.Call) -> set[str]:
    return {each.keyword.value for each in call.args if each.keyword is not None}
