"""Which variables tell the application its database, and in which form."""

from __future__ import annotations

import dataclasses
import re
from typing import Final

from greenroom.init.values import Values
from greenroom.init.variables import Variable

_DATABASE: Final = frozenset(
    {"DATABASE", "DATABASES", "DB", "POSTGRES", "POSTGRESQL", "PG", "SQL", "PSQL", "SQLALCHEMY", "RDS"}
)

_OTHERS: Final = frozenset(
    [
        "REDIS",
        "MONGO",
        "MONGODB",
        "RABBIT",
        "RABBITMQ",
        "AMQP",
        "CELERY",
        "KAFKA",
        "ELASTIC",
        "S3",
        "SENTRY",
        "MYSQL",
        "SQLITE",
        "CLICKHOUSE",
        "NEO4J",
        "QDRANT",
        "VALKEY",
    ]
)

_PARTS: Final = {
    "host": frozenset({"HOST", "HOSTNAME", "SERVER", "ADDRESS", "ADDR", "ENDPOINT"}),
    "port": frozenset({"PORT"}),
    "user": frozenset({"USER", "USERNAME", "LOGIN", "ROLE"}),
    "password": frozenset({"PASSWORD", "PASS", "PASSWD", "PSWD", "PW", "PWD"}),
    "database": frozenset({"DB", "DATABASE", "NAME", "DBNAME", "BASE"}),
}

_URL: Final = frozenset({"URL", "URI", "DSN", "URLS", "CONNECTION", "CONN", "STRING"})

_SCHEME: Final = re.compile(r"^(postgres(?:ql)?(?:\+\w+)?)://")


@dataclasses.dataclass
class Told:
    """How the application is told its database: one candidate.

    Attributes:
        url: The variable that takes the whole URL; None if it takes parts.
        driver: The URL's scheme, where something says it.
        environment: More variables, with placeholders.
        why: By variable, where it is read.
        second: Variables of a second database, by variable where they are read.
    """

    url: str | None
    driver: str | None
    environment: dict[str, str]
    why: dict[str, str]
    second: dict[str, str] = dataclasses.field(default_factory=dict)


def told(variables: list[Variable], values: Values) -> list[Told]:
    """How an application may be told its database, the likeliest first."""
    urls, groups = _sorted(variables)
    ranked = sorted(urls, key=lambda each: _rank(each, values))
    main = [each for each in ranked if not _tested(each)]
    candidates = []
    for variable in main[:3]:
        environment, why = {}, {variable.name: variable.where}
        for other in urls:
            if other is not variable and (_tested(other) or _same(other, variable)):
                environment[other.name] = "{url}"
                why[other.name] = other.where
        own = groups.get(_prefix(variable.name), {})
        if "password" in own and "host" not in own:
            environment[own["password"].name] = "{password}"
            why[own["password"].name] = own["password"].where
        second = {
            other.name: other.where
            for other in main
            if other is not variable and other.name not in environment
        }
        candidates.append(Told(variable.name, _scheme(variable, values), environment, why, second))
    parts = sorted(
        (prefix for prefix, group in groups.items() if "host" in group and len(group) >= 3),
        key=lambda prefix: (len(set(_words(prefix)) - _DATABASE - {"APP", "MAIN", "PRIMARY"}), len(prefix)),
    )
    for prefix in parts[:2]:
        environment, why = {}, {}
        for group in (groups[prefix], groups.get(f"{prefix}(test)", {})):
            for part, variable in group.items():
                environment[variable.name] = f"{{{part}}}"
                why[variable.name] = variable.where
        if "port" not in groups[prefix]:
            # Drivers take it from there where they are told none.
            environment["PGPORT"] = "{port}"
            why["PGPORT"] = f"no variable {prefix}_PORT is read"
        second = {
            groups[other]["host"].name: groups[other]["host"].where for other in parts if other != prefix
        }
        candidates.append(Told(None, None, environment, why, second))
    if urls and not main:
        tested = ranked[0]
        candidates.append(Told(tested.name, _scheme(tested, values), {}, {tested.name: tested.where}))
    return candidates


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"_+", name.upper()) if word]


def _tested(variable: Variable) -> bool:
    return variable.tested or bool({"TEST", "TESTS", "TESTING"} & set(_words(variable.name)))


def _prefix(name: str) -> str:
    """What a variable's name begins with: `APP_DB_` of `APP_DB_HOST`; a word that says test is left out."""
    words = _words(name)
    return "_".join(word for word in words[:-1] if word != "TEST")


def _sorted(variables: list[Variable]) -> tuple[list[Variable], dict[str, dict[str, Variable]]]:
    """The variables that take URLs, and by prefix those that take parts; `(test)` follows a prefix of the tests."""
    urls: list[Variable] = []
    groups: dict[str, dict[str, Variable]] = {}
    for variable in variables:
        words = _words(variable.name)
        if not words or _OTHERS & set(words):
            continue
        if _takes_url(variable, words):
            urls.append(variable)
            continue
        before = [word for word in words[:-1] if word != "TEST"]
        part = next((part for part, names in _PARTS.items() if words[-1] in names), None)
        if (
            part is None
            and len(words) == 1
            and words[0].startswith("PG")
            and words[0][2:] in _PARTS["host"] | {"USER"}
        ):
            part, before = ("user" if words[0].endswith("USER") else "host"), ["PG"]
        if part is None or not before or not _DATABASE & set(before):
            continue
        suffix = "(test)" if _tested(variable) else ""
        groups.setdefault("_".join(before) + suffix, {}).setdefault(part, variable)
    return urls, groups


def _takes_url(variable: Variable, words: list[str]) -> bool:
    if "PostgresDsn" in variable.kind or _SCHEME.match(variable.default or ""):
        return True
    if words[-1] in _URL and _DATABASE & set(words[:-1]):
        return True
    if words[-1] == "DSN":
        return True
    return bool(re.fullmatch(r"(DATABASE|DB|POSTGRES|PG|SQLALCHEMY)(URL|URI|DSN)", words[-1]))


def _rank(variable: Variable, values: Values) -> tuple[int, int, str]:
    """The application's own database first: whose names or values say Postgres, and which says no more than that."""
    extra = set(_words(variable.name)) - _DATABASE - _URL - {"ASYNC", "APP", "MAIN"}
    postgres = (
        _SCHEME.match(variable.default or "") or "Postgres" in variable.kind or _scheme(variable, values)
    )
    return (0 if variable.required or postgres else 1, len(extra), variable.name)


def _same(other: Variable, variable: Variable) -> bool:
    """Whether two variables are the same database: with another driver, or for migrations, which only some have."""
    more = set(_words(other.name)) ^ set(_words(variable.name))
    return bool(more) and more <= {
        "SYNC",
        "ASYNC",
        "URL",
        "URI",
        "DSN",
        "DB",
        "DATABASE",
        "SQLALCHEMY",
        "ALEMBIC",
        "MIGRATION",
        "MIGRATIONS",
    }


def _scheme(variable: Variable, values: Values) -> str | None:
    texts = [each.value for each in values.named(variable.name, computed=True)]
    for text in [variable.default or "", *texts]:
        if found := _SCHEME.match(text):
            return found[1].replace("postgres+", "postgresql+") if "+" in found[1] else "postgresql"
    return None
