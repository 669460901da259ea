"""Where a project's schema comes from, and what it asks of the server: extensions and roles."""

from __future__ import annotations

import ast
import configparser
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from greenroom.database.extensions import CREATED
from greenroom.init.applications import last
from greenroom.init.repository import Module, Repository

_USED: Final = {
    "citext": r"\bimport\b[^#\n]*\bCITEXT\b",
    "hstore": r"\bimport\b[^#\n]*\bHSTORE\b",
    "pg_trgm": r"\bgi[ns]t?_trgm_ops\b",
    "postgis": r"(?m)^\s*(?:from|import)\s+geoalchemy2\b",
    "uuid-ossp": r"\buuid_generate_v[1345]",
    "vector": r"(?m)^\s*(?:from|import)\s+pgvector\.",
}
"""What a project writes that uses an extension, and need not create it in the same place."""

_ANY: Final = re.compile("")
_STATEMENT: Final = re.compile(r"""\bCREATE\b|\bGRANT\b|["']\s*create\s+extension""")
"""In modules that have SQL, and not only prose about it."""

_ROLE: Final = re.compile(
    r"CREATE\s+(?:ROLE|USER)\s+(?:IF\s+NOT\s+EXISTS\s+)?\"?([a-z_][a-z0-9_]*)\"?", re.IGNORECASE
)
_GRANTEE: Final = re.compile(r"GRANT\s[^;'\"]{0,200}?\sTO\s+\"?([a-z_][a-z0-9_]*)\"?", re.IGNORECASE)
_NO_ROLES: Final = frozenset(
    {"public", "current_user", "session_user", "current_role", "postgres", "if", "role"}
)

_TOOLS: Final = {
    "yoyo": "yoyo-migrations",
    "dbmate": "dbmate",
    "atlas": "atlas",
    "flyway": "Flyway",
    "aerich": "aerich",
    "piccolo": "piccolo",
}
"""Other tools for migrations that are looked for."""


class Source(NamedTuple):
    """One place that the schema may come from.

    Attributes:
        settings: The settings that say so.
        why: What speaks for it, for a person.
    """

    settings: dict[str, Any]
    why: str


def sources(repository: Repository, project: Path, application: str) -> list[Source]:
    """Where the schema may come from, the likeliest first.

    Args:
        repository: The files.
        project: The project's folder.
        application: Its `app`, whose module may be the one that imports all models.
    """
    startup = _at_startup(repository, project)
    metadata = _metadata(repository, project, application)
    # What an application writes while it starts up (settings, a first user), a suite that never does that has not.
    made = [*metadata, *startup] if _tests_make_tables(repository) else [*startup, *metadata]
    return [*_alembic(repository, project), *made, *_sql(repository, project)]


def _tests_make_tables(repository: Repository) -> bool:
    """Whether the tests call `create_all`, and never start the application up."""
    texts = [repository.text(path) for path in repository.files if repository.is_test(path)]
    starts = any(re.search(r"LifespanManager|\blifespan\b|\bwith TestClient\(", text) for text in texts)
    return not starts and any("create_all" in text for text in texts)


def _alembic(repository: Repository, project: Path) -> list[Source]:
    found = []
    for path in repository.files:
        relative = os.path.relpath(path, project)
        if path.name.endswith(".ini") and "script_location" in repository.text(path):
            parser = configparser.RawConfigParser()
            try:
                parser.read_string(repository.text(path))
                location = parser.get("alembic", "script_location")
            except configparser.Error:
                continue
        elif path.name == "pyproject.toml":
            location = repository.toml(path).get("tool", {}).get("alembic", {}).get("script_location", "")
            if not location:
                continue
        else:
            continue
        location = location.replace("%(here)s", str(path.parent)).replace("%%", "%")
        folders = [(base / location).resolve() for base in (project, path.parent)]
        if ":" in location:
            package, _, inside = location.partition(":")
            folders = [base / package.replace(".", "/") / inside for base in (project, project / "src")]
        revisions = [
            each
            for each in repository.files
            if each.suffix == ".py"
            and any(each.resolve().is_relative_to(folder) for folder in folders)
            and re.search(r"(?m)^revision\b.*=", repository.text(each))
        ]
        if revisions and not repository.is_test(path):
            many = "1 revision" if len(revisions) == 1 else f"{len(revisions)} revisions"
            source = Source({"alembic": Path(relative).as_posix()}, f"{repository.shown(path)}: {many}")
            found.append((relative.startswith(".."), len(Path(relative).parts), source))
    return [source for *_rank, source in sorted(found, key=lambda each: each[:2])]


def _at_startup(repository: Repository, project: Path) -> list[Source]:
    """`create_all`, or a runner of migrations of its own, that is called from what the application starts up with."""
    for module in repository.modules:
        if repository.is_test(module.path) or not module.path.is_relative_to(project):
            continue
        if {"scripts", "migrations", "alembic", "versions", "cli"} & set(
            module.path.relative_to(project).parts
        ):
            continue
        for node in ast.walk(module.tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                for inner in ast.walk(node):
                    if last(inner if isinstance(inner, ast.expr) else None) == "create_all" and _called(
                        repository, node.name
                    ):
                        where = repository.shown(module.path, getattr(inner, "lineno", node.lineno))
                        return [
                            Source(
                                {"schema_at_startup": True},
                                f"{where}: create_all, when the application starts up",
                            )
                        ]
    return []


def _called(repository: Repository, name: str, depth: int = 3) -> bool:
    """Whether a function is called by what an application starts up with."""
    if re.search(r"lifespan|startup|start_up|on_start", name):
        return True
    if depth == 0:
        return False
    return any(
        any(isinstance(call, ast.Call) and last(call.func) == name for call in ast.walk(node))
        and _called(repository, node.name, depth - 1)
        for module in repository.modules
        if not repository.is_test(module.path)
        for node in ast.walk(module.tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name != name
    )


def _metadata(repository: Repository, project: Path, application: str) -> list[Source]:
    """The metadata of the models: of a module that, beside the application, imports as many models as possible, and little else."""
    modules = {
        repository.name(each.path, project): each
        for each in repository.modules
        if each.path.is_relative_to(project) and not repository.is_test(each.path)
    }
    names = {base: where for name, module in modules.items() for base, where in _bases(module)}
    if not names:
        return []
    reached = {name: _reached(name, modules) for name in modules}
    tables = {
        name
        for name, module in modules.items()
        if "__tablename__" in repository.text(module.path)
        or re.search(r"table\s*=\s*True|\bTable\(", repository.text(module.path))
    }
    by_application = reached.get(application.partition(":")[0], set())
    ranked = []
    for name, module in modules.items():
        if "alembic" in name.split(".") or "versions" in name.split("."):
            continue
        for base, defined in names.items():
            if _has(module, base):
                covered = len((reached[name] | by_application) & tables)
                application_itself = name == application.partition(":")[0]
                ranked.append(
                    (-covered, application_itself, len(reached[name]), len(name), f"{name}:{base}{defined}")
                )
    if not ranked or (ranked[0][0] == 0 and not tables):
        return []
    best = min(ranked)
    return [
        Source(
            {"metadata": best[-1]},
            f"the models' metadata, with {-best[0]} of {len(tables)} modules of models",
        )
    ]


def _bases(module: Module) -> list[tuple[str, str]]:
    """Names of the module that hold metadata, and how to get from them to it."""
    found = []
    for node in module.tree.body:
        if isinstance(node, ast.ClassDef) and {last(base) for base in node.bases} & {
            "DeclarativeBase", "DeclarativeBaseNoMeta", "UUIDBase", "UUIDAuditBase", "BigIntBase", "CommonTableAttributes",
        }:  # fmt: skip
            found.append((node.name, ".metadata"))
        if (
            isinstance(node, ast.ImportFrom)
            and node.module == "sqlmodel"
            and "SQLModel" in {a.name for a in node.names}
        ):
            found.append(("SQLModel", ".metadata"))
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(node.value, ast.Call):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            made = last(node.value.func)
            if made in {"declarative_base", "automap_base", "registry", "generate_base"} and last(target):
                found.append((last(target), ".metadata"))
            if made == "MetaData" and last(target):
                found.append((last(target), ""))
    return found


def _has(module: Module, name: str) -> bool:
    for node in module.tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return True
        if isinstance(node, ast.ImportFrom) and name in {alias.asname or alias.name for alias in node.names}:
            return True
        if isinstance(node, ast.Assign) and name in {last(each) for each in node.targets}:
            return True
    return False


def _reached(name: str, modules: dict[str, Module], seen: set[str] | None = None) -> set[str]:
    """The project's own modules that importing one of them imports."""
    seen = seen if seen is not None else set()
    if name in seen or name not in modules:
        return seen
    seen.add(name)
    package = name if modules[name].path.name == "__init__.py" else name.rpartition(".")[0]
    for node in modules[name].tree.body:
        if isinstance(node, ast.Import):
            wanted = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            wanted = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        else:
            continue
        for each in wanted:
            parts = each.split(".")
            for end in range(1, len(parts) + 1):
                _reached(".".join(parts[:end]), modules, seen)
    return seen


def _sql(repository: Repository, project: Path) -> list[Source]:
    """SQL files that make tables: one schema, or a folder of numbered files."""
    files = [
        path
        for path in repository.files
        if path.suffix == ".sql"
        and path.is_relative_to(project)
        and not repository.is_test(path)
        and re.search(r"CREATE\s+TABLE", repository.text(path), re.IGNORECASE)
    ]
    whole = [path for path in files if re.search(r"schema|structure|init|create", path.stem)]
    chosen = whole[:1]
    if not chosen and files:
        chosen = sorted(
            path
            for path in repository.files
            if path.parent == files[0].parent
            and path.suffix == ".sql"
            and not re.search(r"down|undo|rollback", path.stem)
        )
    if not chosen:
        return []
    names = [path.relative_to(project).as_posix() for path in chosen]
    return [Source({"sql": names}, "SQL files that make tables")]


def other_tools(repository: Repository) -> list[str]:
    """Names of other tools for migrations that the repository uses."""
    texts = " ".join(
        repository.text(path)
        for path in repository.files
        if path.name in {"pyproject.toml", "Makefile", "Justfile", "justfile"}
        or re.match(r"requirements.*\.txt", path.name)
    )
    return [name for word, name in _TOOLS.items() if re.search(rf"\b{word}\b", texts)]


def extensions(repository: Repository, project: Path) -> dict[str, str]:
    """Extensions that the project's files create or use, and where; `schema.name` if it is created in a schema."""
    found = _mentioned(repository, project, CREATED)
    for match, where in _matches(repository, project, CREATED, _STATEMENT):
        if match[2] and match[2].lower() not in {"public", "pg_catalog"} and match[1] in found:
            del found[match[1]]
            found[f"{match[2]}.{match[1]}"] = where
    names = {each.rpartition(".")[2] for each in found}
    for name, pattern in _USED.items():
        if name not in names:
            for _match, where in _matches(repository, project, re.compile(pattern), _ANY):
                found.setdefault(name, where)
    return found


def roles(repository: Repository, project: Path) -> dict[str, str]:
    """Roles that the project's migrations create or grant rights to, and where."""
    found = _mentioned(repository, project, _ROLE) | _mentioned(repository, project, _GRANTEE)
    return {
        name: where
        for name, where in found.items()
        if name.lower() not in _NO_ROLES and not name.startswith("pg_")
    }


def _mentioned(repository: Repository, project: Path, pattern: re.Pattern[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for match, where in _matches(repository, project, pattern, _STATEMENT):
        found.setdefault(match[1], where)
    return found


def _matches(
    repository: Repository, project: Path, pattern: re.Pattern[str], modules: re.Pattern[str]
) -> Iterator[tuple[re.Match[str], str]]:
    """Where a pattern is found in the project's scripts and in those of its modules that `modules` matches, and not in its tests."""
    for path in repository.files:
        if path.suffix not in {".py", ".sql"} or not path.is_relative_to(project) or repository.is_test(path):
            continue
        content = repository.text(path)
        if path.suffix == ".sql" or modules.search(content):
            for match in pattern.finditer(_code(path, content)):
                yield match, repository.shown(path)


def _code(path: Path, content: str) -> str:
    """A file's text without its comments."""
    return re.sub(r"(?m)--.*$" if path.suffix == ".sql" else r"(?m)^\s*#.*$", "", content)


def before(repository: Repository, project: Path, schema: str) -> str | None:
    """A SQL file that makes a schema, and no table or database: what a deployment runs by hand."""
    for path in repository.files:
        content = repository.text(path) if path.suffix == ".sql" and path.is_relative_to(project) else ""
        if re.search(
            rf"CREATE\s+SCHEMA\s+(IF\s+NOT\s+EXISTS\s+)?\"?{re.escape(schema)}\b", content, re.IGNORECASE
        ) and not (re.search(r"CREATE\s+(TABLE|DATABASE)", content, re.IGNORECASE)):
            return path.relative_to(project).as_posix()
    return None
