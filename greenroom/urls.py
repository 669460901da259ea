"""Database URLs in the forms that the different clients want, and never with a password where a person reads."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sqlalchemy import URL


def conninfo(url: URL) -> str:
    """`url` as libpq wants it: for psycopg, psql and pg_dump."""
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def for_driver(url: URL, driver: str) -> URL:
    """`url` with another driver, and the one option that drivers spell differently translated.

    asyncpg, through SQLAlchemy, takes `ssl` where libpq takes `sslmode`.
    """
    query = dict(url.query)
    if driver.endswith("+asyncpg") and "sslmode" in query:
        query["ssl"] = query.pop("sslmode")
    return url.set(drivername=driver, query=query)


def environment(url: URL, variable: str, more: Mapping[str, str]) -> dict[str, str]:
    """What to set in an application's environment so that it uses the database at `url`.

    Args:
        url: The database, in the application's own form.
        variable: The name of the variable that takes the whole URL.
        more: Other variables, with `{url}`, `{host}`, `{port}`, `{user}`, `{password}` and `{database}` in their values.
    """
    text = url.render_as_string(hide_password=False)
    parts = {
        "url": text,
        "host": str(url.host or url.query.get("host", "localhost")),
        "port": str(url.port or 5432),
        "user": url.username or "",
        "password": str(url.password or ""),
        "database": url.database or "",
    }
    values = {variable: text}
    for name, template in more.items():
        value = template
        for key, part in parts.items():
            value = value.replace("{" + key + "}", part)
        values[name] = value
    return values


LIBPQ: Final = (
    "PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGUSER", "PGSERVICE", "PGSERVICEFILE", "PGOPTIONS",
    "PGTARGETSESSIONATTRS",
)  # fmt: skip
"""Environment variables that complete, and PGHOSTADDR even overrules, what a URL says about where to connect."""


def forget_libpq_environment() -> dict[str, str]:
    """Take `LIBPQ` out of this process's environment: what is connected to is what greenroom's own URLs say.

    Returns:
        What was there.
    """
    return {name: os.environ.pop(name) for name in LIBPQ if name in os.environ}


def redacted(url: URL) -> str:
    """`url` for a person's eyes: the password is three stars."""
    return url.render_as_string(hide_password=True)
