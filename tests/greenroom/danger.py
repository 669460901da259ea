"""What `test_dangerous.py` endangers: a database with rows that are somebody's, and servers that are not for tests."""

from __future__ import annotations

import contextlib
import os
import socket
import socketserver
import struct
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Self

import psutil
import psycopg
import pytest
from sqlalchemy import make_url

from greenroom.output import silent
from greenroom.servers import instance, program
from greenroom.urls import forget_libpq_environment

PASSWORD: Final = "hunter2"

_STATE: Final = {
    "databases": "SELECT d.*, shobj_description(oid, 'pg_database') FROM pg_database AS d ORDER BY oid",
    "settings": "SELECT * FROM pg_db_role_setting ORDER BY 1, 2",
    "roles": "SELECT r.*, shobj_description(oid, 'pg_authid') FROM pg_authid AS r ORDER BY oid",
    "members": "SELECT * FROM pg_auth_members ORDER BY oid",
    # In the maintenance database, in which greenroom makes nothing.
    "relations": "SELECT xmin, * FROM pg_class ORDER BY oid",
    "functions": "SELECT xmin, oid FROM pg_proc ORDER BY oid",
    "schemas": "SELECT xmin, * FROM pg_namespace ORDER BY oid",
}


class Production:
    """A server that has, beside greenroom's databases, one with a table that has rows, and a role that owns it.

    Args:
        url: The server's admin URL.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.folder = str(make_url(url).query["host"])
        self._undo = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self.execute(f"CREATE ROLE boss LOGIN CREATEDB PASSWORD '{PASSWORD}'")
        self._undo.callback(self.execute, "DROP ROLE boss")
        self.execute("CREATE DATABASE production OWNER boss")
        self._undo.callback(self.execute, "DROP DATABASE production WITH (FORCE)")
        self.execute(
            "COMMENT ON DATABASE production IS 'ours'; CREATE TABLE customers (id serial PRIMARY KEY, name text);"
            "INSERT INTO customers (name) SELECT 'customer ' || n FROM generate_series(1, 100) AS n;"
            "CREATE TABLE countries AS SELECT 'nl' AS code; GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC",
            database="production",
        )
        return self

    def __exit__(self, *_exception: object) -> None:
        self._undo.close()

    def at(self, database: str) -> str:
        """The URL of a database, as the admin."""
        return make_url(self.url).set(database=database).render_as_string(hide_password=False)

    def execute(self, *statements: str, database: str = "postgres") -> Any:
        """Execute statements as the admin. The first row of the last one, if it has any."""
        with _without_libpq_environment(), psycopg.connect(self.at(database), autocommit=True) as connection:
            for statement in statements:
                cursor = connection.execute(statement)
            return cursor.fetchone() if cursor.description else None

    def state(self) -> dict[str, Any]:
        """All that there is, but for what is in greenroom's own databases."""
        with _without_libpq_environment():
            return self._state()

    def _state(self) -> dict[str, Any]:
        state: dict[str, Any] = {}
        with psycopg.connect(self.url) as connection:
            for name, query in _STATE.items():
                state[name] = connection.execute(query).fetchall()
        with psycopg.connect(self.at("production")) as connection:
            # With the transaction that wrote each row, and where it is: not even the same value was written again.
            state["rows"] = connection.execute("SELECT xmin, ctid, * FROM customers ORDER BY id").fetchall()
        command = [str(program("pg_dump")), "--restrict-key=same", "--large-objects", self.at("production")]
        state["production"] = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return state


@contextlib.contextmanager
def _without_libpq_environment() -> Iterator[None]:
    """The environment may be the danger: what looks at the server must not fall for it."""
    forgotten = forget_libpq_environment()
    try:
        yield
    finally:
        os.environ.update(forgotten)


@contextlib.contextmanager
def standby(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server in recovery, which waits for more from the one that it copies. Its admin URL."""
    monkeypatch.setitem(instance.SETTINGS, "wal_level", "replica")
    server = instance.Instance(folder)
    try:
        server.start(silent)
        assert server.pid is not None
        process = psutil.Process(server.pid)
        process.terminate()
        process.wait(20)
        (folder / "data" / "standby.signal").touch()
        server.start(silent)
        yield f"postgresql://postgres@/postgres?host={server.socket_folder}"
    finally:
        server.remove()


@contextlib.contextmanager
def pretender(*, version: str = "18.6", address: str = "127.0.0.1") -> Iterator[str]:
    """Something on localhost that takes part in as much of the protocol as is needed to be looked at. Its admin URL.

    Args:
        version: What it says its version is.
        address: What it says its own address is: at the far end of a tunnel, another machine's.
    """

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            _pretend(self.request, version, address)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"postgresql://postgres:{PASSWORD}@127.0.0.1:{server.server_address[1]}/postgres"
        finally:
            server.shutdown()
            thread.join()


def _pretend(client: socket.socket, version: str, address: str) -> None:
    stream = client.makefile("rb")
    while True:
        (length,) = struct.unpack("!i", stream.read(4))
        (code,) = struct.unpack("!i", stream.read(length - 4)[:4])
        if code == 196608:  # the protocol's version 3.0; before it, libpq asks for encryption
            break
        client.sendall(b"N")
    told = {"server_version": version, "client_encoding": "UTF8", "standard_conforming_strings": "on"}
    parameters = b"".join(_message(b"S", f"{name}\0{value}\0".encode()) for name, value in told.items())
    client.sendall(_message(b"R", struct.pack("!i", 0)) + parameters + _message(b"Z", b"I"))
    while kind := stream.read(1):
        query = stream.read(struct.unpack("!i", stream.read(4))[0] - 4).rstrip(b"\0").decode()
        if kind != b"Q":
            return
        answer = b""
        if "pg_is_in_recovery" in query:
            answer = _row((16, "f"), (16, "t"), (25, "postgres"), (25, address), (16, "f"))
        elif query.startswith("SHOW"):
            answer = _row((25, "*"))
        open_ = b"I" if query.startswith(("COMMIT", "ROLLBACK")) else b"T"
        client.sendall(answer + _message(b"C", query.split()[0].encode() + b"\0") + _message(b"Z", open_))


def _message(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("!i", len(content) + 4) + content


def _row(*columns: tuple[int, str]) -> bytes:
    """The description of a row, and the row: of each column the type's oid and the text."""
    count = struct.pack("!h", len(columns))
    described = b"".join(b"x\0" + struct.pack("!ihihih", 0, 0, oid, -1, -1, 0) for oid, _text in columns)
    values = b"".join(struct.pack("!i", len(text)) + text.encode() for _oid, text in columns)
    return _message(b"T", count + described) + _message(b"D", count + values)
