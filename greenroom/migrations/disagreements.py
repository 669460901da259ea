"""Where models and migrations differ, in lines that a person reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from alembic.operations.ops import UpgradeOps
    from alembic.runtime.migration import MigrationContext
    from sqlalchemy import Table


def lines(operations: Iterable[UpgradeOps], context: MigrationContext) -> Iterator[str]:
    """A line for each difference.

    Args:
        operations: What autogenerate would write into a revision.
        context: Compiles types and defaults.
    """
    for each in operations:
        for difference in each.as_diffs():
            # Changes of one column come together, as a list.
            for one in difference if isinstance(difference, list) else [difference]:
                yield _line(one, context)


_KINDS: Final[dict[str, Callable[[Any, MigrationContext], str]]] = {
    "table": lambda table, _: _name(table),
    "column": lambda column, context: f"{column.name} {_type(column.type, context)}",
    "index": lambda index, _: (
        f"{index.name} on {_name(index.table)} ({', '.join(map(_column, index.expressions))})"
    ),
    "constraint": lambda found, _: (
        f"{found.name} on {_name(found.table)} ({', '.join(map(_column, found.columns))})"
    ),
    "fk": lambda found, _: (
        f"{_name(found.parent)} ({', '.join(found.column_keys)}) → {', '.join(each.target_fullname for each in found.elements)}"
    ),
}

_NOUNS: Final = {"fk": "foreign key", "constraint": "constraint"}


def _line(found: tuple[Any, ...], context: MigrationContext) -> str:
    what, *rest = found
    verb, _, kind = what.partition("_")
    if verb in ("add", "remove") and kind in _KINDS:
        owner = f"{'.'.join(filter(None, rest[:2]))}." if kind == "column" else ""
        where = "only in the models" if verb == "add" else "only in the migrations"
        return f"{_NOUNS.get(kind, kind)} {owner}{_KINDS[kind](rest[-1], context)}: {where}"
    if verb == "modify":
        schema, table, column, _, old, new = rest
        name = ".".join(filter(None, (schema, table, column)))
        return f"{kind.replace('nullable', 'nullability')} of {name}: {_value(old, context)} by the migrations, {_value(new, context)} by the models"
    if what in ("add_table_comment", "remove_table_comment"):
        return f"comment on table {_name(rest[0])}: {rest[0].comment!r}"
    return " ".join(map(str, found))


def _name(table: Table | None) -> str:
    return "" if table is None else str(table.fullname)


def _column(found: Any) -> str:
    return str(getattr(found, "name", found))


def _type(found: Any, context: MigrationContext) -> str:
    try:
        return str(found.compile(dialect=context.dialect))
    except Exception:  # noqa: BLE001 - a type of the project's own, which need not compile
        return repr(found)


def _value(found: Any, context: MigrationContext) -> str:
    if isinstance(found, bool):
        return "NULL" if found else "NOT NULL"
    if hasattr(found, "compile") and not hasattr(found, "arg"):
        return _type(found, context)
    return "none" if found is None or found is False else str(getattr(found, "arg", found))
