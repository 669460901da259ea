"""The SQL of the rewind, from the files in sql/."""

from __future__ import annotations

import functools
from importlib import resources
from typing import Final

from psycopg import sql

TEXT: Final = (
    "-c DateStyle=ISO -c TimeZone=GMT -c IntervalStyle=postgres -c bytea_output=hex -c extra_float_digits=1"
)
"""Options of each session that copies or compares values as text, so that it is the same text in each. A server knows GMT without files of time zones."""


@functools.cache
def statement(name: str) -> sql.SQL:
    """What stands in sql/`name`.sql, with `{names}` where `format` puts something in."""
    return sql.SQL(resources.files(__package__).joinpath("sql", f"{name}.sql").read_text(encoding="utf-8"))
