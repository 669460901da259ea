"""The environment variables that a project reads: fields of pydantic's settings, and reads of the environment itself."""

from __future__ import annotations

import ast
import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from greenroom.init.applications import last
from greenroom.init.repository import Module, Repository

_READERS: Final = frozenset(
    {"getenv", "get", "config", "env", "str", "int", "bool", "list", "url", "path", "float"}
)
"""What reads a variable whose name is its first argument: os, environs, decouple, Starlette's Config."""

_READ_ON: Final = frozenset({"os", "environ", "env", "config", "Env", "environment", ""})


@dataclasses.dataclass(frozen=True)
class Variable:
    """An environment variable that the project reads.

    Attributes:
        name: Its name.
        kind: The type that is wanted, as the source has it; empty if it has none.
        default: The text of its default; None if it has none, or one that is computed.
        required: It has no default: without it, the application does not start.
        where: The place, for a person.
        tested: It is read by the tests only.
    """

    name: str
    kind: str
    default: str | None
    required: bool
    where: str
    tested: bool = False


@dataclasses.dataclass
class _Class:
    """A class of settings or of a part of them."""

    node: ast.ClassDef
    module: Module
    bases: list[str]
    options: dict[str, ast.expr]


def variables(repository: Repository) -> list[Variable]:
    """All variables that are read, each once: a field of the settings rather than a plain read, the application's before the tests'."""
    found: dict[str, Variable] = {}
    for variable in [*_fields(repository), *_reads(repository)]:
        before = found.get(variable.name.upper())
        if before is None or (before.tested and not variable.tested):
            found[variable.name.upper()] = variable
    return list(found.values())


class _Classes:
    """The classes of a checkout. Several may have one name: each service of a monorepo has its own `Settings`."""

    def __init__(self, repository: Repository) -> None:
        self.all: list[_Class] = []
        self._named: dict[str, list[_Class]] = {}
        for module in repository.modules:
            for node in ast.walk(module.tree):
                if isinstance(node, ast.ClassDef):
                    each = _Class(node, module, [last(base) for base in node.bases], _options(node))
                    self.all.append(each)
                    self._named.setdefault(node.name, []).append(each)

    def named(self, name: str, module: Module) -> _Class | None:
        """The class that a module means by a name: of those in the checkout, the one that is nearest to it."""

        def near(each: _Class) -> int:
            return len(Path(os.path.commonpath([each.module.path, module.path])).parts)

        return max(self._named.get(name, ()), key=near, default=None)


def _fields(repository: Repository) -> Iterator[Variable]:
    classes = _Classes(repository)
    for each in classes.all:
        if _is_settings(each, classes) and not repository.is_test(each.module.path):
            options: dict[str, ast.expr] = {}
            for ancestor in reversed(_line(each, classes)):
                options |= ancestor.options
            for ancestor in reversed(_line(each, classes)):
                yield from _of(repository, ancestor, options, classes)


def _is_settings(each: _Class, classes: _Classes) -> bool:
    return any(base.endswith("BaseSettings") for ancestor in _line(each, classes) for base in ancestor.bases)


def _line(each: _Class, classes: _Classes, seen: tuple[str, ...] = ()) -> list[_Class]:
    """A class and its ancestors that the repository has."""
    line = [each]
    for base in each.bases:
        found = classes.named(base, each.module)
        if found is not None and base not in seen and found is not each:
            line += _line(found, classes, (*seen, each.node.name))
    return line


def _options(node: ast.ClassDef) -> dict[str, ast.expr]:
    """The options of a settings class: its `model_config`, or its class `Config`."""
    for statement in node.body:
        if isinstance(statement, ast.Assign) and any(
            last(each) == "model_config" for each in statement.targets
        ):
            if isinstance(statement.value, ast.Call):
                return {word.arg: word.value for word in statement.value.keywords if word.arg}
            if isinstance(statement.value, ast.Dict):
                return {
                    key.value: value
                    for key, value in zip(statement.value.keys, statement.value.values, strict=True)
                    if isinstance(key, ast.Constant) and isinstance(key.value, str)
                }
        if isinstance(statement, ast.ClassDef) and statement.name == "Config":
            return {
                last(target): each.value
                for each in statement.body
                if isinstance(each, ast.Assign)
                for target in each.targets
            }
    return {}


def text(node: ast.expr | None) -> str | None:
    """The text of a constant, as an environment variable would have it; None for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, (str, int, float, bool)):
        return str(node.value)
    if isinstance(node, ast.Call) and node.args and last(node.func) in {"SecretStr", "PostgresDsn", "Path"}:
        return text(node.args[0])
    return None


def _of(
    repository: Repository,
    each: _Class,
    options: dict[str, ast.expr],
    classes: _Classes,
    before: str = "",
) -> Iterator[Variable]:
    prefix = before or (text(options.get("env_prefix")) or "")
    delimiter = text(options.get("env_nested_delimiter"))
    sensitive = text(options.get("case_sensitive")) == "True"
    for statement in each.node.body:
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        field, kind = statement.target.id, ast.unparse(_plain(statement.annotation))
        if field.startswith("_") or field == "model_config" or "ClassVar" in kind:
            continue
        alias, default, required = _field(statement)
        name = alias or prefix + field
        name = name if sensitive else name.upper()
        words = _words(_plain(statement.annotation))
        part = next(filter(None, (classes.named(word, each.module) for word in words)), None)
        nested = part is not None and not _is_enum(part)
        if nested and part is not None and not _is_settings(part, classes):
            if delimiter:
                for ancestor in reversed(_line(part, classes)):
                    yield from _of(repository, ancestor, options, classes, f"{name}{delimiter}")
            continue
        if nested:
            continue  # settings of their own, with their own names
        if part is not None:
            kind = _members(part) or kind
        where = repository.shown(each.module.path, statement.lineno)
        yield Variable(name, kind, default, required, where)


def _plain(annotation: ast.expr) -> ast.expr:
    """An annotation without what `Annotated` adds."""
    if isinstance(annotation, ast.Subscript) and last(annotation.value) == "Annotated":
        inner = annotation.slice
        return inner.elts[0] if isinstance(inner, ast.Tuple) and inner.elts else annotation
    return annotation


def _words(node: ast.expr) -> list[str]:
    return [last(each) for each in ast.walk(node) if isinstance(each, (ast.Name, ast.Attribute))]


def _is_enum(each: _Class) -> bool:
    return any("Enum" in base for base in each.bases)


def _members(each: _Class) -> str | None:
    """An enumeration as a `Literal` of its values."""
    values = [
        repr(text(line.value)) for line in each.node.body if isinstance(line, ast.Assign) and text(line.value)
    ]
    return f"Literal[{', '.join(values)}]" if values else None


def _field(statement: ast.AnnAssign) -> tuple[str | None, str | None, bool]:
    """A field's alias, the text of its default, and whether it has none."""
    calls = [
        node
        for node in [*ast.walk(statement.annotation), *([statement.value] if statement.value else [])]
        if isinstance(node, ast.Call) and last(node.func) == "Field"
    ]
    alias: str | None = None
    value = statement.value
    required = value is None
    for call in calls:
        words = {word.arg: word.value for word in call.keywords if word.arg}
        for name in ("validation_alias", "alias", "env"):
            given = words.get(name)
            if isinstance(given, ast.Call) and given.args:  # AliasChoices
                given = given.args[0]
            if isinstance(given, (ast.List, ast.Tuple)) and given.elts:
                given = given.elts[0]
            alias = alias or text(given)
        if call is value:
            value = call.args[0] if call.args else words.get("default")
            required = value is None and "default_factory" not in words
        elif value is None and (call.args or {"default", "default_factory"} & set(words)):
            value, required = call.args[0] if call.args else words.get("default"), False
    if isinstance(value, ast.Constant) and value.value is ...:
        return alias, None, True
    if isinstance(value, ast.Call) and last(value.func) in {"getenv", "get"}:
        return (
            alias,
            text(value.args[1]) if len(value.args) > 1 else None,
            len(value.args) < 2 and not value.keywords,
        )
    return alias, text(value), required


def _reads(repository: Repository) -> Iterator[Variable]:
    for module in sorted(repository.modules, key=lambda each: repository.is_test(each.path)):
        tested = repository.is_test(module.path)
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and _reads_variable(node):
                name = text(node.args[0]) or ""
                words = {word.arg: word.value for word in node.keywords if word.arg}
                default = node.args[1] if len(node.args) > 1 else words.get("default")
                required = default is None and last(node.func) not in {"getenv", "get"}
                where = repository.shown(module.path, node.lineno)
                yield Variable(name, _kind(node, words), text(default), required, where, tested)
            elif (
                isinstance(node, ast.Subscript)
                and last(node.value) == "environ"
                and isinstance(node.ctx, ast.Load)
                and text(node.slice)
            ):
                where = repository.shown(module.path, node.lineno)
                yield Variable(text(node.slice) or "", "", None, not tested, where, tested)


def _reads_variable(call: ast.Call) -> bool:
    name = text(call.args[0]) if call.args else None
    if not name or not isinstance(call.args[0], ast.Constant) or not name.replace("_", "").isalnum():
        return False
    function = last(call.func)
    on = last(call.func.value) if isinstance(call.func, ast.Attribute) else ""
    if function == "get" and on != "environ":
        return False
    return function in _READERS and on in _READ_ON and (name.isupper() or function == "getenv")


def _kind(call: ast.Call, words: dict[str, ast.expr]) -> str:
    function = last(call.func)
    return function if function in {"int", "bool", "list", "float"} else last(words.get("cast"))
