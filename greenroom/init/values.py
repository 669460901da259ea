"""A value for each variable without a default: one that the repository itself names for tests, or else a harmless one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, NamedTuple

from greenroom.init.repository import Repository
from greenroom.init.variables import Variable

SECRET: Final = "for-tests-only-and-no-secret-0123456789"  # noqa: S105 - as it says
"""Long enough for what validators want of a secret."""

_KEY: Final = "Z3JlZW5yb29tLWdyZWVucm9vbS1ncmVlbnJvb20tMTI="
"""What cryptography's Fernet takes as a key: the bytes of "greenroom-greenroom-greenroom-12"."""

_SECRETS: Final = re.compile(r"SECRET|KEY|PASSWORD|PASSWD|TOKEN|SALT|PEPPER|CREDENTIAL")

_PLACEHOLDER: Final = re.compile(
    r"change|replace|your|xxx|secret|todo|example|placeholder|generate|<|\.\.\.", re.IGNORECASE
)

_PLACES: Final = (
    # For tests, first.
    r"(^|/)\.env\.?(test|ci)[^/]*$|(^|/)[^/]*test[^/]*\.env$",
    r"(^|/)\.github/workflows/[^/]*(test|ci|back)[^/]*\.ya?ml$|(^|/)\.gitlab-ci\.yml$",
    r"(^|/)(tox\.ini|noxfile\.py|pytest\.ini|setup\.cfg|pyproject\.toml|conftest\.py)$",
    r"(^|/)\.github/workflows/[^/]*\.ya?ml$",
    r"(^|/)[^/]*(docker-)?compose[^/]*test[^/]*\.ya?ml$",
    # For whoever sets the project up.
    r"(^|/)[^/]*\.?env[^/]*(example|sample|template|dist|default|local|dev)[^/]*$|(^|/)[^/]*\.env$|(^|/)\.env$",
    r"(^|/)[^/]*(docker-)?compose[^/]*\.ya?ml$",
    r"(^|/)(Makefile|[Jj]ustfile|Dockerfile|\.travis\.yml|README\.md)$",
)

_COMPUTED: Final = re.compile(r"\$[{(\w]|\{\{|\{\w+\}")
"""What gives away a value that something else is filled into."""

_PAIR: Final = re.compile(r"""^\s*(?:- )?["']?([A-Z][A-Z0-9_]{2,})["']?\s*[:=]\s*(\S.*)$""", re.MULTILINE)

_ASSIGNED: Final = re.compile(r"""(?<![\w$])([A-Z][A-Z0-9_]*)=("[^"]*"|'[^']*'|[^\s&;"']+)""")

_ENTRY: Final = re.compile(r"""["'](?:[RDU]:)*([A-Za-z_]\w*)\s*=\s*([^"']+)["']""")
"""One of pytest-env's list, where letters before the name say when it is set."""

_MACHINERY: Final = re.compile(
    r"^(GITHUB|GH|CI|PATH|PYTHON|UV|PIP|POETRY|DOCKER|COMPOSE|TOX|NOX|COVERAGE|CODECOV|PY|NODE|NPM|IMAGE|REGISTRY|HOME|LC|LANG)(_|$)"
    r"|^PYTHON|(^|_)(DATABASE|DB|POSTGRES|POSTGRESQL|PG)(_|$)"
)

_TESTS: Final = 5
"""How many of them are for tests."""


class Value(NamedTuple):
    """A value, where it is from, for a person, and whether tests use it there."""

    value: str
    where: str
    tests: bool = False


class Values:
    """The values of variables that a repository names.

    Args:
        repository: Its files.
        root: The project's folder in it.
    """

    def __init__(self, repository: Repository, root: Path) -> None:
        self._repository = repository
        self._root = root
        self._files: dict[Path, bool] = {}
        for number, pattern in enumerate(_PLACES):
            for path in repository.files:
                if re.search(pattern, path.relative_to(repository.root).as_posix()):
                    self._files.setdefault(path, number < _TESTS)

    def named(self, name: str, *, computed: bool = False) -> list[Value]:
        """All values that the repository names for a variable, those for tests first.

        Args:
            name: The variable.
            computed: Also values that other variables are a part of.
        """
        line = re.compile(
            rf"""^[\s\-\w.("'\[]*(?<![\w$]){re.escape(name)}["']?\]?\s*[:=,]\s*(.+)$""", re.MULTILINE
        )
        found = []
        for path, tests in self._files.items():
            text = self._repository.text(path)
            for match in line.finditer(text):
                value = _constant(match[1], text) if path.suffix == ".py" else _cleaned(match[1])
                if value and (computed or not _COMPUTED.search(value)):
                    where = self._repository.shown(path, text.count("\n", 0, match.start(1)) + 1)
                    found.append(Value(value, where, tests))
        return found

    def environment(self) -> dict[str, Value]:
        """The variables that the tests run with today, in CI or by tox and nox; without those of the machinery and of databases."""
        found = self._of_pytest()
        for path, tests in self._files.items():
            text = self._repository.text(path)
            if not tests or path.name in {"conftest.py", "pyproject.toml", "setup.cfg"}:
                continue
            for match in _PAIR.finditer(text):
                value = _constant(match[2], text) if path.suffix == ".py" else _cleaned(match[2])
                if value and not _MACHINERY.search(match[1]) and not _COMPUTED.search(value):
                    where = self._repository.shown(path, text.count("\n", 0, match.start(1)) + 1)
                    found.setdefault(match[1], Value(value, where, tests))
        return found

    def _of_pytest(self) -> dict[str, Value]:
        """The variables that pytest-env sets, by a list in the project's pyproject.toml. Other files have a pair on each line."""
        found: dict[str, Value] = {}
        path = self._root / "pyproject.toml"
        text = self._repository.text(path) if path in self._files else ""
        for block in re.finditer(r"(?m)^env\s*=\s*\[([^\]]*)\]", text):
            for match in _ENTRY.finditer(block[1]):
                value = _cleaned(match[2])
                if value and not _MACHINERY.search(match[1]) and not _COMPUTED.search(value):
                    line = text.count("\n", 0, block.start(1) + match.start(1)) + 1
                    found.setdefault(match[1], Value(value, self._repository.shown(path, line), tests=True))
        return found

    def today(self, read: set[str]) -> dict[str, Value]:
        """The variables that the tests are run with today: before `pytest` on a line, and those of `environment` that are read.

        Args:
            read: The names of the variables that the project reads.
        """
        found: dict[str, Value] = {}
        for path in self._repository.files:
            if path.name in {
                "Makefile",
                "makefile",
                "Justfile",
                "justfile",
                "Taskfile.yml",
                "pyproject.toml",
            } or (path.suffix in {".sh", ".yml", ".yaml"}):
                for number, line in enumerate(self._repository.text(path).splitlines(), 1):
                    for match in _ASSIGNED.finditer(line.partition("pytest")[0] if "pytest" in line else ""):
                        value = _cleaned(match[2])
                        if value and not _MACHINERY.search(match[1]) and not _COMPUTED.search(value):
                            found.setdefault(
                                match[1], Value(value, self._repository.shown(path, number), tests=True)
                            )
        return found | {
            name: value for name, value in self.environment().items() if name in read and name not in found
        }

    def tracked_dotenv(self, name: str, folder: Path) -> bool:
        """Whether a `.env` beside the project is in the repository and sets a variable, so that everybody has its value."""
        return any(
            re.search(rf"(?m)^(export )?{re.escape(name)}=.", self._repository.text(path))
            for path in (folder / ".env", self._repository.root / ".env")
            if path in self._repository.files
        )

    def for_tests(self, variable: Variable) -> Value:
        """A value for a variable that has no default."""
        name = variable.name.upper()
        for named in self.named(variable.name):
            poor = _SECRETS.search(name) and (
                _PLACEHOLDER.search(named.value) or len(named.value) < len(SECRET)
            )
            if _fits(named.value, variable.kind) and (named.tests or not poor):
                return named
        return Value(harmless(name, variable.kind), f"{variable.where} wants one; any will do")


def _cleaned(text: str) -> str:
    text = text.strip()
    if text[:1] in {"'", '"'}:
        return text[1:].partition(text[0])[0]
    return re.split(r"\s+#|[\"']?\s*,?\s*$", text)[0].strip().rstrip("\\").strip()


def _constant(text: str, source: str) -> str:
    """What an expression of Python's says: a text in quotes, or the name of one in the same file."""
    text = text.strip()
    if re.match(r"['\"]", text):
        return _cleaned(text)
    name = re.match(r"([A-Za-z_]\w*)\s*[,)}]*$", text)
    found = re.search(rf"(?m)^{name[1]}\s*=\s*(['\"].*)$", source) if name else None
    return _cleaned(found[1]) if found else ""


def _fits(value: str, kind: str) -> bool:
    if re.search(r"\bint\b|PositiveInt", kind):
        return value.lstrip("-").isdigit()
    if re.search(r"\bbool\b", kind):
        return value.lower() in {"true", "false", "1", "0", "yes", "no", "on", "off"}
    if literal := re.search(r"Literal\[(.*)\]", kind):
        return repr(value) in literal[1] or f'"{value}"' in literal[1]
    return True


def harmless(name: str, kind: str = "") -> str:
    """A value that does no harm, by a variable's type and, where that says little, its name.

    Args:
        name: The variable, in capitals.
        kind: The type that is wanted.
    """
    if literal := re.search(r"Literal\[['\"]?([^'\",\]]+)", kind):
        return literal[1]
    if name.endswith("PORT"):
        return "1"
    for pattern, value in (*_KINDS, *((rf"^.*({named})", value) for named, value in _NAMES)):
        if re.search(pattern, name if pattern.startswith("^") else kind):
            return value
    return "test"


_KINDS: Final = (
    (r"EmailStr|NameEmail", "tests@example.com"),
    (r"RedisDsn", "redis://localhost:6379/0"),
    (r"AmqpDsn", "amqp://guest:guest@localhost:5672/"),
    (r"MongoDsn", "mongodb://localhost:27017/test"),
    (r"KafkaDsn", "kafka://localhost:9092"),
    (r"Url\b|UrlStr|URL", "http://localhost"),
    (r"\bbool\b", "false"),
    (r"\b(int|float|Decimal)\b|PositiveInt", "60"),
    (r"\b(dict|Dict|Mapping)\b", "{}"),
    (r"\b(list|List|set|Set|tuple|Sequence)\b", "[]"),
)

_NAMES: Final = (
    (r"ALGORITHM", "HS256"),
    (r"FERNET|ENCRYPTION_KEY", _KEY),
    (_SECRETS.pattern, SECRET),
    (r"EMAIL|MAIL_FROM|SUPERUSER$", "tests@example.com"),
    (r"REDIS.*(URL|URI|DSN)|BROKER_URL|CELERY.*(URL|BACKEND)", "redis://localhost:6379/0"),
    (r"AMQP|RABBIT.*(URL|URI|DSN)", "amqp://guest:guest@localhost:5672/"),
    (r"KAFKA|BOOTSTRAP_SERVERS", "localhost:9092"),
    (r"(URL|URI|ENDPOINT|ORIGIN)S?$", "http://localhost"),
    (r"HOST(NAME)?$|SERVER$|DOMAIN$", "localhost"),
    (r"(DEBUG|ENABLED|VERBOSE|ECHO)", "false"),
    (r"EXPIRE|MINUTES|SECONDS|DAYS|HOURS|TTL|TIMEOUT|LIFETIME|SIZE|LIMIT|COUNT|MAX|MIN", "60"),
)
