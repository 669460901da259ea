"""What a module tests, counted: the same before and after."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Final

import libcst as cst

from greenroom.convert.reading.marks import is_backend, is_mark
from greenroom.convert.reading.modules import Module
from greenroom.convert.reading.nodes import called, dotted_of


@dataclass(frozen=True)
class Counts:
    """What was counted.

    Attributes:
        tests: The tests, by title.
        assertions: The assertions, those of tests and helpers and mocks.
        raises: The blocks and calls of `pytest.raises` and `pytest.warns`.
        marks: The marks and parameters of tests, other than those of asynchronous ones.
    """

    tests: Counter[str]
    assertions: int
    raises: int
    marks: Counter[str]

    def __add__(self, other: Counts) -> Counts:
        """Both."""
        return Counts(
            self.tests + other.tests,
            self.assertions + other.assertions,
            self.raises + other.raises,
            self.marks + other.marks,
        )

    def lost(self, after: Counts) -> str:
        """What is not the same afterwards, in words; empty if everything is."""
        if self.tests != after.tests:
            return f"the tests {', '.join(sorted((self.tests - after.tests) + (after.tests - self.tests)))}"
        if self.assertions != after.assertions:
            return f"{self.assertions} assertions, then {after.assertions}"
        if self.raises != after.raises:
            return f"{self.raises} blocks of pytest.raises or pytest.warns, then {after.raises}"
        if self.marks != after.marks:
            return f"the marks {', '.join(sorted((self.marks - after.marks) + (after.marks - self.marks)))}"
        return ""

    def as_json(self) -> dict[str, int]:
        """The numbers, by name."""
        return {
            "tests": self.tests.total(), "assertions": self.assertions, "raises": self.raises, "marks": self.marks.total()
        }  # fmt: skip

    def __str__(self) -> str:
        """`12 tests, 40 assertions, 3 raises, 2 marks`."""
        return f"{self.tests.total()} tests, {self.assertions} assertions, {self.raises} raises, {self.marks.total()} marks"


NOTHING = Counts(Counter(), 0, 0, Counter())


def count(module: Module) -> Counts:
    """Count what a module tests."""
    tests = Counter(each.title for each in module.functions if each.role == "test" and each.outer is None)
    counts = Counts(tests, 0, 0, Counter())
    assertions = raises = 0
    for node in module.nodes:
        match node:
            case cst.Assert():
                assertions += 1
            case cst.Call():
                name = node.func.attr.value if isinstance(node.func, cst.Attribute) else dotted_of(node.func)
                assertions += name.startswith("assert")
                raises += module.qualified(node.func) in _ENDS
            case cst.Decorator():
                mark = module.qualified(called(node.decorator))
                if mark.startswith("pytest.mark.") and not (
                    is_mark(node.decorator, module) or is_backend(node.decorator, module)
                ):
                    counts.marks[mark] += 1
    return replace(counts, assertions=assertions, raises=raises)


_ENDS: Final = {"pytest.raises", "pytest.warns", "pytest.fail", "pytest.skip"}
