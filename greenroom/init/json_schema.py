"""The JSON schema of `[tool.greenroom]`, for editors that check and complete a pyproject.toml."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from typing import Any, Final

from greenroom.config import CHOICES, OF_A_DATABASE, SETTINGS, SOURCES, Config

_ENGINES: Final = ("auto", "docker", "embedded", "external")


def as_json() -> str:
    """The schema of a whole pyproject.toml, of which it describes greenroom's table."""
    said = _descriptions()
    properties = {
        field.name: _property(field) | {"description": said[field.name]}
        for field in dataclasses.fields(Config)
        if field.name in SETTINGS and field.name != "databases"
    }
    database = {
        "type": "object",
        "additionalProperties": False,
        "required": ["database_url"],
        "properties": {name: properties[name] for name in OF_A_DATABASE},
    }
    properties["databases"] = {
        "type": "object",
        "additionalProperties": database,
        "default": {},
        "description": said["databases"],
    }
    greenroom = {
        "type": "object",
        "description": "How greenroom runs this project's tests.",
        "additionalProperties": False,
        "required": ["app"],
        "anyOf": [{"required": [name]} for name in SOURCES],
        "properties": properties,
    }
    document = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "[tool.greenroom] in pyproject.toml",
        "type": "object",
        "properties": {"tool": {"type": "object", "properties": {"greenroom": greenroom}}},
    }
    return json.dumps(document, indent=2)


def _property(field: dataclasses.Field[Any]) -> dict[str, Any]:
    kind = str(field.type)
    strings = {"type": "array", "items": {"type": "string"}}
    if kind.startswith("tuple"):
        return {
            "anyOf": [{"type": "string", "minLength": 1}, strings],
            "default": [*vars(Config)[field.name]],
        }
    if kind.startswith("Mapping"):
        return {"type": "object", "additionalProperties": {"type": "string"}, "default": {}}
    if kind == "bool":
        return {"type": "boolean", "default": field.default}
    if kind == "int":
        return {"type": "integer", "minimum": 0, "default": field.default}
    found: dict[str, Any] = {"type": "string", "minLength": 1}
    if choices := CHOICES.get(field.name) or (_ENGINES if field.name == "engine" else None):
        found = {"enum": list(choices)}
    if isinstance(field.default, str) and field.default:
        found["default"] = field.default
    return found


def _descriptions() -> dict[str, str]:
    """What `Config`'s docstring says of each attribute."""
    text = inspect.cleandoc(Config.__doc__ or "").partition("Attributes:\n")[2]
    found = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", text, re.MULTILINE)
    return {name: re.sub(r"\s+", " ", said).replace("`", "") for name, said in found}
