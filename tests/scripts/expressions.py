"""GitHub's expressions, as far as our workflows use them: what stands in `${{ }}` and behind `if:`.

Stricter than GitHub's own, where a name that nothing defines is silently empty: here it is an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

EXPRESSION = re.compile(r"\$\{\{((?:(?!\}\}).)*)\}\}", re.DOTALL)
TOKEN = re.compile(r"\s*('(?:[^']|'')*'|-?\d+(?:\.\d+)?|[A-Za-z_][\w-]*|==|!=|&&|\|\||[!().,*\[\]])")
STATUS = re.compile(r"\b(success|failure|cancelled|always)\s*\(")
CONSTANTS = {"true": True, "false": False, "null": None}


class Invalid(Exception):
    """An expression that GitHub would refuse, or that this module has not learned."""


class Outputs(dict[str, str]):
    """The outputs of a step: what it has not written is empty, as where the step was skipped."""

    def __missing__(self, key: str) -> str:
        """An output that was not written."""
        return ""


def text(value: object) -> str:
    """A value as it appears in a string."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def equal(one: object, other: object) -> bool:
    """`==`: strings without regard to case, what is of different types as numbers."""
    if isinstance(one, str) and isinstance(other, str):
        return one.casefold() == other.casefold()
    if type(one) is type(other):
        return one == other
    try:
        return float(text(one) or 0) == float(text(other) or 0)
    except ValueError:
        return False


def formatted(template: str, *values: object) -> str:
    """`format('{0}', …)`."""
    return re.sub(r"\{(\d+)\}", lambda match: text(values[int(match[1])]), template)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "format": formatted,
    "fromJSON": json.loads,
    "join": lambda values, separator=",": separator.join(map(text, values)),
}


class Parser:
    """Evaluates one expression while it reads it.

    Args:
        source: The expression, without `${{ }}`.
        contexts: `github`, `inputs`, `matrix` and so on.
        functions: The functions that depend on the job, such as `success`.
    """

    def __init__(
        self, source: str, contexts: Mapping[str, Any], functions: Mapping[str, Callable[..., Any]]
    ) -> None:
        self.source = source.strip()
        self.contexts = contexts
        self.functions = {**FUNCTIONS, **functions}
        self.tokens: list[str] = []
        position = 0
        while position < len(self.source):
            match = TOKEN.match(self.source, position)
            if not match:
                raise Invalid(f"cannot read {self.source[position:]!r} in {self.source!r}")
            self.tokens.append(match[1])
            position = match.end()

    def evaluate(self) -> Any:
        """The value of the whole expression."""
        value = self.either()
        if self.tokens:
            raise Invalid(f"{self.tokens[0]!r} is too much in {self.source!r}")
        return value

    def take(self, *wanted: str) -> str | None:
        """The next token, when it is one of these."""
        return self.tokens.pop(0) if self.tokens and self.tokens[0] in wanted else None

    def expect(self, wanted: str) -> None:
        """Take the next token, which must be this one."""
        if not self.take(wanted):
            raise Invalid(f"{wanted!r} is missing in {self.source!r}")

    # Both sides are always evaluated: nothing has a side effect, and a wrong name on either side is an error.
    def either(self) -> Any:
        """`a || b`: a, if it is true, else b."""
        value = self.both()
        while self.take("||"):
            other = self.both()
            value = value or other
        return value

    def both(self) -> Any:
        """`a && b`: b, if a is true, else a."""
        value = self.comparison()
        while self.take("&&"):
            other = self.comparison()
            value = value and other
        return value

    def comparison(self) -> Any:
        """`a == b` and `a != b`."""
        value = self.negation()
        while operator := self.take("==", "!="):
            value = equal(value, self.negation()) == (operator == "==")
        return value

    def negation(self) -> Any:
        """`!a`."""
        return not self.negation() if self.take("!") else self.operand()

    def operand(self) -> Any:
        """A literal, a function's result, or a value of a context."""
        if self.take("("):
            value = self.either()
            self.expect(")")
            return value
        if not self.tokens:
            raise Invalid(f"{self.source!r} ends too early")
        token = self.tokens.pop(0)
        if token.startswith("'"):
            return token[1:-1].replace("''", "'")
        if token[0].isdigit() or token[0] == "-":
            return float(token)
        if token in CONSTANTS:
            return CONSTANTS[token]
        if self.take("("):
            return self.call(token)
        if token not in self.contexts:
            raise Invalid(f"{token!r} in {self.source!r} is no context")
        return self.members(self.contexts[token], token)

    def call(self, name: str) -> Any:
        """A function's result; its parenthesis is open."""
        if name not in self.functions:
            raise Invalid(f"{name!r} in {self.source!r} is no function")
        arguments: list[Any] = []
        while not self.take(")"):
            if arguments:
                self.expect(",")
            arguments.append(self.either())
        return self.functions[name](*arguments)

    def members(self, value: Any, path: str) -> Any:
        """What `.name`, `['name']` and `.*` say of a value."""
        many = False
        while separator := self.take(".", "["):
            if separator == "." and self.take("*"):
                value, many = list(value.values()) if isinstance(value, Mapping) else list(value), True
                path += ".*"
                continue
            key = self.tokens.pop(0) if separator == "." else self.either()
            if separator == "[":
                self.expect("]")
            path += f".{key}"
            try:
                value = [each[key] for each in value] if many else value[key]
            except (KeyError, TypeError, IndexError):
                raise Invalid(f"nothing defines {path}, which {self.source!r} asks for") from None
        return value


def evaluate(
    source: str, contexts: Mapping[str, Any], functions: Mapping[str, Callable[..., Any]] | None = None
) -> Any:
    """The value of an expression without `${{ }}`."""
    return Parser(source, contexts, functions or {}).evaluate()


def filled(value: Any, contexts: Mapping[str, Any]) -> Any:
    """A value from a workflow, with its expressions evaluated: one alone keeps its type, in a longer text it is text."""
    if isinstance(value, Mapping):
        return {key: filled(each, contexts) for key, each in value.items()}
    if isinstance(value, list):
        return [filled(each, contexts) for each in value]
    if not isinstance(value, str):
        return value
    if alone := EXPRESSION.fullmatch(value.strip()):
        return evaluate(alone[1], contexts)
    return EXPRESSION.sub(lambda match: text(evaluate(match[1], contexts)), value)


def condition(source: str, contexts: Mapping[str, Any], functions: Mapping[str, Callable[..., Any]]) -> bool:
    """Whether an `if:` holds. One that does not ask for the status holds only where all before has succeeded."""
    alone = EXPRESSION.fullmatch(source.strip())
    source = alone[1] if alone else source
    holds = bool(evaluate(source, contexts, functions))
    return holds if STATUS.search(source) else holds and bool(functions["success"]())
