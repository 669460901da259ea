"""What stands around an application: how its tests get a database today, and the services beside Postgres."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from greenroom.init.applications import last
from greenroom.init.repository import Repository
from greenroom.init.variables import Variable

_SERVICES: Final = {
    "Redis": r"(?:redis|valkey|arq|fakeredis|fastapi[_-]limiter)",
    "RabbitMQ": r"(?:aio_?pika|pika|kombu|rabbitmq)",
    "Celery": r"celery",
    "Kafka": r"(?:aiokafka|kafka|confluent_kafka|faststream)",
    "MongoDB": r"(?:motor|pymongo|beanie)",
    "Elasticsearch": r"(?:elasticsearch|opensearchpy)",
    "S3": r"(?:boto3|aioboto3|minio|aiobotocore)",
    "SMTP": r"(?:aiosmtplib|smtplib|fastapi_mail|emails)",
    "Temporal": r"temporalio",
}
"""A service, and the packages that a project imports to use it."""

_TESTS: Final = {
    "testcontainers": r"^\s*(?:from|import) testcontainers",
    "a container of docker's own": r"^\s*import docker\b",
    "pytest-postgresql": r"^\s*from pytest_postgresql",
    "pytest-docker": r"docker_services",
    "SQLite": r"sqlite(?:\+\w+)?://",
    "CREATE DATABASE of their own": r"CREATE DATABASE|create_database\(",
    "create_all and drop_all": r"\.drop_all",
    "a transaction that is rolled back": r"\.rollback\(\)",
}
"""How tests get their database, and what gives it away."""


def services(repository: Repository, project: Path, variables: list[Variable]) -> dict[str, str]:
    """The services that the application uses, each with the variable that switches it off, or with an empty text."""
    found = {}
    for service, package in _SERVICES.items():
        pattern = re.compile(rf"(?m)^\s*(?:from|import)\s+{package}\b")
        if any(
            pattern.search(repository.text(each.path))
            for each in repository.modules
            if each.path.is_relative_to(project) and not repository.is_test(each.path)
        ):
            found[service] = next((each.name for each in switches(service, variables)), "")
    return found


def switches(service: str, variables: list[Variable]) -> Iterator[Variable]:
    """The variables that switch a service on."""
    for variable in variables:
        words = variable.name.upper().split("_")
        if service.upper()[:5] in variable.name.upper() and {"ENABLED", "ENABLE", "USE"} & set(words):
            yield variable


def loses_lines(repository: Repository, project: Path) -> bool:
    """Whether coverage is measured, with settings under which it loses the lines after an awaited query."""
    table = repository.toml(project / "pyproject.toml")
    elsewhere = any((project / name).is_file() for name in (".coveragerc", "setup.cfg", "tox.ini"))
    settings = table.get("tool", {}).get("coverage", {}).get("run")
    if importlib.util.find_spec("coverage") is None or (elsewhere and settings is None):
        return False
    from greenroom.coverage import exact

    declared = repository.text(project / "pyproject.toml") + "".join(
        repository.text(path) for path in project.glob("*requirements*.txt")
    )
    measured = settings is not None or re.search(r"\b(?:pytest-cov|coverage)\b", declared)
    return bool(measured) and not exact(settings or {})


def tests_today(repository: Repository, project: Path) -> list[str]:
    """How the tests get a database today, each with the place."""
    found: dict[str, str] = {}
    for path in repository.files:
        if path.name == "conftest.py" and path.is_relative_to(project):
            content = repository.text(path)
            for kind, pattern in _TESTS.items():
                if match := re.search(pattern, content, re.MULTILINE):
                    line = content.count("\n", 0, match.start()) + 1
                    found.setdefault(kind, f"{kind} ({repository.shown(path, line)})")
    return list(found.values())


FIXTURES: Final = (
    "app", "async_session", "client", "database_url", "engine", "make_client", "role_engine", "run",
    "scratch_database", "session", "sync_database_url",
)  # fmt: skip
"""Greenroom's own. A suite may have some of these names already."""


def own_fixtures(repository: Repository, project: Path) -> dict[str, str]:
    """Fixtures of the project's conftests that have a name of greenroom's, each with the place of the first."""
    found: dict[str, str] = {}
    for module in repository.modules:
        if module.path.name != "conftest.py" or not module.path.is_relative_to(project):
            continue
        for node in ast.walk(module.tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                for decorator in node.decorator_list:
                    if last(decorator.func if isinstance(decorator, ast.Call) else decorator) == "fixture":
                        words = decorator.keywords if isinstance(decorator, ast.Call) else []
                        given = [word.value for word in words if word.arg == "name"]
                        name = given[0].value if given and isinstance(given[0], ast.Constant) else node.name
                        if name in FIXTURES:
                            found.setdefault(str(name), repository.shown(module.path, node.lineno))
    return found


def assigned(repository: Repository, project: Path, names: set[str]) -> list[str]:
    """Where the tests set one of these variables themselves, over what greenroom has set."""
    pattern = re.compile(r"""environ\[\s*["'](\w+)["']\s*\]\s*=|putenv\(\s*["'](\w+)""")
    found = []
    for path in repository.files:
        if path.name == "conftest.py" and path.is_relative_to(project):
            content = repository.text(path)
            for match in pattern.finditer(content):
                if (match[1] or match[2]) in names:
                    line = content.count("\n", 0, match.start()) + 1
                    found.append(f"{repository.shown(path, line)} sets {match[1] or match[2]}")
    return found
