"""Find the ASGI application, or the function that makes it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from greenroom.init.repository import Module, Repository

_CLASSES: Final = frozenset(
    {"FastAPI", "Starlette", "Litestar", "Quart", "Sanic", "BlackSheep", "Esmerald", "Ravyn"}
)

_ASIDE: Final = frozenset({"examples", "example", "docs", "scripts", "benchmarks", "demo", "templates"})
"""Folders whose applications are hardly ever the one."""


class Application(NamedTuple):
    """An application that was found.

    Attributes:
        target: As `app` of the configuration names it.
        project: The folder of its project.
        where: The place, for a person.
        score: How much speaks for it.
        why: What speaks for it.
    """

    target: str
    project: Path
    where: str
    score: int
    why: str


def applications(repository: Repository) -> list[Application]:
    """All applications of a repository, the likeliest first."""
    classes = _CLASSES | _subclasses(repository)
    factories = {
        node.name
        for module in repository.modules
        for node in module.tree.body
        if isinstance(node, ast.FunctionDef) and _makes(node, classes)
    }
    found = []
    for module in repository.modules:
        if repository.is_test(module.path):
            continue
        names = list(_names(module, classes, factories))
        # Where a module has an application, a function beside it is what made it.
        names = [each for each in names if not each[0].endswith("()")] or names
        found += [_judged(repository, module, name, line) for name, line in names]
    return sorted(found, key=lambda each: (-each.score, each.target.count("."), each.target))


def _subclasses(repository: Repository) -> set[str]:
    return {
        node.name
        for module in repository.modules
        for node in module.tree.body
        if isinstance(node, ast.ClassDef) and any(last(base) in _CLASSES for base in node.bases)
    }


def last(node: ast.expr | None) -> str:
    """The last part of a dotted name: of `fastapi.FastAPI` it is `FastAPI`; empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value.rpartition(".")[2]
    return ""


def _makes(function: ast.FunctionDef, classes: frozenset[str]) -> bool:
    """Whether calling a function without arguments makes an application."""
    arguments = function.args
    if len(arguments.posonlyargs + arguments.args) > len(arguments.defaults) or any(
        default is None for default in arguments.kw_defaults
    ):
        return False
    if last(function.returns) in classes:
        return True
    made = {
        last(target)
        for node in ast.walk(function)
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Call)
        and last(node.value.func) in classes
        for target in node.targets
    }
    return any(
        last(node.value) in made or (isinstance(node.value, ast.Call) and last(node.value.func) in classes)
        for node in ast.walk(function)
        if isinstance(node, ast.Return) and node.value is not None
    )


def _names(module: Module, classes: frozenset[str], factories: set[str]) -> Iterator[tuple[str, int]]:
    seen = set()
    for node in module.tree.body:
        targets: list[ast.expr] = []
        value: ast.expr | None = None
        if isinstance(node, ast.Assign):
            targets, value = node.targets, node.value
        elif isinstance(node, ast.AnnAssign):
            targets, value = [node.target], node.value
        if isinstance(value, ast.Call) and last(value.func) in classes | factories:
            for target in targets:
                if isinstance(target, ast.Name) and target.id not in seen:
                    seen.add(target.id)
                    yield target.id, node.lineno
        elif isinstance(node, ast.FunctionDef) and _makes(node, classes):
            yield f"{node.name}()", node.lineno


def _judged(repository: Repository, module: Module, name: str, line: int) -> Application:
    project = repository.project(module.path)
    dotted = repository.name(module.path, project)
    bare = name.removesuffix("()")
    score = 0
    why: list[str] = []
    served = re.compile(rf"[\w.]*\b{re.escape(dotted.rpartition('.')[2])}:{re.escape(bare)}\b")
    for path in repository.files:
        if path.suffix not in {".md", ".rst", ".lock", ".json"}:
            text = repository.text(path)
            for match in served.finditer(text):
                if dotted.endswith(match[0].partition(":")[0].removeprefix("src.")):
                    score += 10
                    if len(why) < 1:
                        line_of = text.count("\n", 0, match.start()) + 1
                        why.append(f"{repository.shown(path, line_of)} serves it")
                    break
    for other in repository.modules:
        for node in ast.walk(other.tree):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.endswith(dotted):
                if bare in {alias.name for alias in node.names} and repository.is_test(other.path):
                    score += 4
            elif (
                isinstance(node, ast.Call)
                and last(node.func) == "mount"
                and any(last(argument) == bare for argument in node.args)
            ):
                score -= 8  # a part of another application
    score += 3 * (bare in {"app", "application"}) + 2 * (
        module.path.stem in {"main", "app", "application", "asgi"}
    )
    score -= 2 * name.endswith("()")
    score -= 20 * bool(_ASIDE & set(module.path.relative_to(repository.root).parts[:-1]))
    score -= len(module.path.relative_to(project).parts)
    return Application(
        f"{dotted}:{name}", project, repository.shown(module.path, line), score, "; ".join(why)
    )
