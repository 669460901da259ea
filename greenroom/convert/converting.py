"""A conversion, from the files to what they become. Nothing is written."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import libcst as cst

from greenroom.convert.checking import counts
from greenroom.convert.checking.counts import NOTHING, Counts
from greenroom.convert.planning.plan import Plan, Stays, check
from greenroom.convert.reading.modules import Module
from greenroom.convert.reading.sessions import Factories
from greenroom.convert.reading.suite import Suite
from greenroom.convert.reading.values import Values
from greenroom.convert.writing.formatting import Formatting
from greenroom.convert.writing.imports import imported
from greenroom.convert.writing.isolation import Isolation
from greenroom.convert.writing.rewrite import Rewriter
from greenroom.convert.writing.settings import Settings
from greenroom.convert.writing.tidy import tidied


@dataclass
class Conversion:
    """What a conversion would do.

    Attributes:
        files: The files that change: what is in each now, and what would be.
        stays: What stays asynchronous.
        notes: What a reader should know, each with its place.
        before: What the suite tests now.
        after: What it would test.
        broken: The files that stay as they are because they cannot be read, or because something would be lost, with why.
        tests: How many tests become synchronous.
        functions: How many functions do, tests included.
    """

    files: dict[Path, tuple[bytes, bytes]] = field(default_factory=dict)
    stays: list[Stays] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    before: Counts = NOTHING
    after: Counts = NOTHING
    broken: dict[Path, str] = field(default_factory=dict)
    tests: int = 0
    functions: int = 0


def convert(
    root: Path,
    targets: list[Path],
    *,
    app: str = "",
    only: frozenset[tuple[Path, str]] = frozenset(),
    isolation: bool = False,
) -> Conversion:
    """Convert tests.

    Args:
        root: The project's folder.
        targets: The files and folders.
        app: The application that greenroom is configured for, `module:name`.
        only: The tests and classes to convert, each with its file, as `TestIt::test_it`; all if there are none.
        isolation: Replace the suite's own isolation by greenroom's.

    Raises:
        GreenroomError: There is no such file, or no such test in it.
    """
    suite = Suite(root, targets)
    check(only, suite)
    originals = {module.path: module for module in suite.targets}
    values = Values(suite, Factories(root))
    notes: list[tuple[str, str]] = []
    if isolation:
        replacing = Isolation(suite, values)
        notes = replacing.notes
        suite = Suite(root, targets, {path: replacing.replaced(module) for path, module in originals.items()})
        values = Values(suite, Factories(root))
    plan = Plan(suite, values, only=only)
    test_client = "fastapi.testclient" if find_spec("fastapi") is not None else "starlette.testclient"
    own = {module.dotted.partition(".")[0] for module in suite.modules} | {
        each.stem
        for folder in (root, root / "src")
        if folder.is_dir()
        for each in folder.iterdir()
        if each.suffix == ".py" or (each / "__init__.py").is_file()
    }
    result = Conversion(
        stays=plan.stays, notes=[*notes, *dict.fromkeys(plan.notes)], broken=dict(suite.broken)
    )
    shared = _shared(suite)
    for module in suite.targets:
        original = originals[module.path]
        before = counts.count(original)
        result.before += before
        rewriter = Rewriter(module, plan, values, app.replace(":", "."), test_client)
        tree = tidied(module.tree.visit(rewriter), module, plan, shared=shared[module])
        text = imported(tree, original, rewriter.added, shared=shared[module], own=own).bytes
        if text == original.source:
            result.after += before
            continue
        after, lost = _counted(text, module, before)
        if lost:
            result.broken[module.path] = (
                f"it would lose something: {lost}. This is a fault of greenroom's; please report it"
            )
            result.after += before
            continue
        result.after += after
        result.files[module.path] = original.source, text
    formatting = Formatting(root)
    result.files = formatting.all(result.files)
    result.notes += formatting.notes
    if not (only or result.stays or result.broken):
        settings = Settings(root, targets, {path: after for path, (_before, after) in result.files.items()})
        result.files |= settings.cleaned()
        result.notes += settings.notes if result.files else []
    done = [each for each in plan.synchronous if each.module.path in result.files]
    result.functions = len(done)
    result.tests = sum(each.role == "test" for each in done)
    return result


def _shared(suite: Suite) -> dict[Module, set[str]]:
    """For each module, the names that others import from it."""
    found: dict[Module, set[str]] = {module: set() for module in suite.modules}
    for module in suite.modules:
        for qualified in module.names.values():
            place, _, name = qualified.rpartition(".")
            if (imports := suite.module(place)) is not None and imports is not module:
                found[imports].add(name)
    return found


def _compiles(text: bytes) -> bool:
    """Whether this Python can compile it: the suite may be for a newer one."""
    try:
        compile(text, "suite", "exec", dont_inherit=True)
    except SyntaxError:
        return False
    return True


def _counted(text: bytes, module: Module, before: Counts) -> tuple[Counts, str]:
    """What a new text tests, and what it would lose."""
    try:
        if _compiles(module.source):
            compile(text, str(module.path), "exec", dont_inherit=True)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / module.path.name
            path.write_bytes(text)
            after = counts.count(Module(path, module.dotted, target=True))
    except (SyntaxError, cst.ParserSyntaxError) as error:
        return NOTHING, f"it would not be Python: {error}"
    return after, before.lost(after)
