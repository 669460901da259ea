"""Database URLs in the forms that the different clients want, and never with a password where a person reads."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sqlalchemy import URL


def conninfo(url: URL) -> str:
    """`url` as libpq wants it: for psycopg, psql and pg_dump."""
    text = url.set(drivername="postgresql").render_as_string(hide_password=False)
    before, mark, query = text.partition("?")
    # In a query SQLAlchemy writes a space as +, which libpq takes for one.
    return before + mark + query.replace("+", "%20")


def for_driver(url: URL, driver: str) -> URL:
    """`url` with another driver, and the one option that drivers spell differently translated.

    asyncpg, through SQLAlchemy, takes `ssl` where libpq takes `sslmode`.
    """
    query = dict(url.query)
    if driver.endswith("+asyncpg") and "sslmode" in query:
        query["ssl"] = query.pop("sslmode")
    return url.set(drivername=driver, query=query)


def asynchronous(driver: str) -> str:
    """The driver of an `AsyncEngine` for an application that uses this one, or that puts one into its URL itself."""
    if driver.endswith(("+asyncpg", "+psycopg", "+psycopg_async")):
        return driver
    return f"postgresql+{'asyncpg' if importlib.util.find_spec('asyncpg') else 'psycopg'}"


def environment(url: URL, variable: str, more: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that make an application use the database at `url`.

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


def of_database(main: str, name: str) -> str:
    """The name of one more database of a process, which its main one gives it."""
    return f"{main}_{name}" if name else main


LIBPQ: Final = (
    "PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGUSER", "PGSERVICE", "PGSERVICEFILE", "PGOPTIONS",
    "PGTARGETSESSIONATTRS",
)  # fmt: skip
"""Environment variables that complete, and PGHOSTADDR even overrules, what a URL says about where to connect."""


def forget_libpq_environment() -> dict[str, str]:
    """Remove the variables `LIBPQ` from this process's environment, so that only greenroom's own URLs count.

    Returns:
        What was there.
    """
    return {name: os.environ.pop(name) for name in LIBPQ if name in os.environ}


def redacted(url: URL) -> str:
    """`url` for a person's eyes: the password is three stars."""
    return url.render_as_string(hide_password=True)
