"""The files of a suite, and what names in them lead to: fixtures as pytest finds them, functions as Python does."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

import libcst as cst

from greenroom.convert.reading.modules import Function, Module
from greenroom.convert.reading.nodes import called, dotted_of, text_of
from greenroom.errors import GreenroomError

_FOLDERS: Final = {"test", "tests", "testing", "spec"}

_IGNORED: Final = {"node_modules", "site-packages", "__pycache__", "venv", "build", "dist"}


class Suite:
    """What is converted, and what is read for that.

    Attributes:
        modules: All modules, those to be converted and the conftests above them.
        broken: The files that cannot be read as Python, each with why.

    Args:
        root: The project's folder.
        targets: The files and folders that are to be converted.
        texts: What is read in the place of files.
    """

    def __init__(
        self, root: Path, targets: Iterable[Path], texts: Mapping[Path, bytes] | None = None
    ) -> None:
        self.broken: dict[Path, str] = {}
        self._root = root
        self._texts = texts or {}
        wanted = sorted({file for target in targets for file in files(target)})
        above = sorted({conftest for file in wanted for conftest in _conftests(root, file)} - {*wanted})
        self.modules = [
            module
            for paths, is_target in ((wanted, True), (above, False))
            for path in paths
            if (module := self._read(path, target=is_target)) is not None
        ]
        self._by_path = {module.path: module for module in self.modules}
        self._by_name: dict[str, Module | None] = {}
        self._plugins = [found for module in self.modules for found in self._named_plugins(module)]

    @property
    def targets(self) -> list[Module]:
        """The modules to be converted."""
        return [module for module in self.modules if module.target]

    @property
    def functions(self) -> Iterator[Function]:
        """The functions of all modules."""
        for module in self.modules:
            yield from module.functions

    def fixture(self, name: str, at: Function) -> Function | None:
        """The fixture that a function gets under a name, or None if it is none of the suite's."""
        module = at.module
        own = [
            each
            for each in module.functions
            if each.fixture is not None and each.name == name and each is not at
        ]
        if at.owner is not None and (found := [each for each in own if each.owner is at.owner]):
            return found[-1]
        overrides = at.fixture is not None and at.name == name
        if not overrides and (found := [each for each in own if each.owner is None]):
            return found[-1]
        if not overrides and (imported := self._imported(name, module)) is not None:
            return imported
        for path in _conftests(self._root, module.path):
            conftest = self._by_path.get(path)
            if conftest is None or conftest is module:
                continue
            if (defined := _defined(name, conftest) or self._imported(name, conftest)) is not None:
                return defined
        return next((known for plugin in self._plugins if (known := _defined(name, plugin))), None)

    def helper(self, expression: cst.BaseExpression, at: Module, within: Function | None) -> Function | None:
        """The function that a name leads to, as Python finds it, or None if it is none of the suite's."""
        if isinstance(expression, cst.Name):
            while within is not None:
                for each in at.functions:
                    if each.outer is within and each.node.name.value == expression.value:
                        return each
                within = within.outer
            if (found := at.level(expression.value)) is not None:
                return found
        elif (
            isinstance(expression, cst.Attribute)
            and isinstance(expression.value, cst.Name)
            and expression.value.value in ("self", "cls")
        ):
            owner = within.owner if within is not None else None
            name = expression.attr.value
            return next(
                (
                    each
                    for each in at.functions
                    if owner and each.owner is owner and each.node.name.value == name
                ),
                None,
            )
        return self._leads_to(at.qualified(expression))

    def decorator(self, node: cst.Decorator, module: Module) -> str:
        """What a decorator is: `pytest.mark.skipif`, also where a module gives that a name of its own."""
        expression = called(node.decorator)
        name = dotted_of(expression)
        if name in module.assigned:
            return module.qualified(called(module.assigned[name]))
        qualified = module.qualified(expression)
        place, _, name = qualified.rpartition(".")
        there = self.module(place)
        if there is not None and name in there.assigned:
            return there.qualified(called(there.assigned[name]))
        return qualified

    def module(self, dotted: str) -> Module | None:
        """The module of this name: as it is imported from the root, or from a folder that is on the path."""
        if dotted not in self._by_name:
            found = [each for each in self.modules if f".{each.dotted}".endswith(f".{dotted}")]
            self._by_name[dotted] = (
                min(found, key=lambda each: len(each.dotted), default=None) if dotted else None
            )
        return self._by_name[dotted]

    def _leads_to(self, qualified: str) -> Function | None:
        dotted, _, name = qualified.rpartition(".")
        module = self.module(dotted)
        return module.level(name) if module is not None else None

    def _imported(self, name: str, module: Module) -> Function | None:
        """A fixture of another module that is imported by name, or with all of it."""
        found = self._leads_to(module.names.get(name, ""))
        if found is not None and found.fixture is not None:
            return found
        for bound, dotted in module.names.items():
            if (
                bound.startswith("* ")
                and (star := self.module(dotted)) is not None
                and (known := _defined(name, star))
            ):
                return known
        return None

    def _named_plugins(self, module: Module) -> Iterator[Module]:
        for statement in module.tree.body:
            for each in statement.body if isinstance(statement, cst.SimpleStatementLine) else ():
                if isinstance(each, cst.Assign) and dotted_of(each.targets[0].target) == "pytest_plugins":
                    value = each.value
                    elements = value.elements if isinstance(value, cst.List | cst.Tuple) else ()
                    for name in [text_of(value), *(text_of(element.value) for element in elements)]:
                        if (found := self.module(name)) is not None:
                            yield found

    def _read(self, path: Path, *, target: bool) -> Module | None:
        parts = (
            path.relative_to(self._root).with_suffix("").parts
            if path.is_relative_to(self._root)
            else (path.stem,)
        )
        dotted = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        try:
            return Module(path, dotted, target=target, text=self._texts.get(path))
        except cst.ParserSyntaxError as error:
            self.broken[path] = _why(path, error)
        except (UnicodeDecodeError, LookupError, SyntaxError) as error:
            self.broken[path] = str(error)
        return None


def _why(path: Path, error: cst.ParserSyntaxError) -> str:
    """Why a file is not Python: in Python's own words, if it agrees, for LibCST's tell what its grammar expects."""
    try:
        compile(path.read_bytes(), path.name, "exec", dont_inherit=True)
    except SyntaxError as own:
        return f"line {own.lineno}: {own.msg}"
    return f"line {error.raw_line}: {error.message.splitlines()[0]}"


def files(target: Path) -> Iterator[Path]:
    """The files of a suite in a folder: tests, conftests, and what stands beside them in a folder for tests.

    Raises:
        GreenroomError: There is no such file or folder.
    """
    if target.is_file():
        yield target
        return
    if not target.is_dir():
        raise GreenroomError(f"There is no file or folder {target}.")
    for path in sorted(target.rglob("*.py")):
        parts = path.relative_to(target).parts[:-1]
        if any(part.startswith(".") or part in _IGNORED for part in parts):
            continue
        if _is_test(path.name) or _FOLDERS & {*parts, *target.resolve().parts[-1:], *target.parts}:
            yield path


def _is_test(name: str) -> bool:
    return name == "conftest.py" or any(
        fnmatch.fnmatch(name, each) for each in ("test_*.py", "*_test.py", "tests.py")
    )


def _conftests(root: Path, file: Path) -> list[Path]:
    """The conftests that apply to a file, the nearest first."""
    return [
        folder / "conftest.py"
        for folder in file.parents
        if (folder == root or root in folder.parents) and (folder / "conftest.py").is_file()
    ]


def _defined(name: str, module: Module) -> Function | None:
    """The fixture of this name that a module defines."""
    return next(
        (
            each
            for each in reversed(module.functions)
            if each.fixture is not None and not each.owner and each.name == name
        ),
        None,
    )
