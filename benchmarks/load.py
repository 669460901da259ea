"""A bounded load test of the application's stack: `make up`, then `make load`.

In each round a thousand requests of all kinds are sent at the same time, each over a connection of its own. It must be
true of every one that it is answered, and rightly: with what was asked for, or with the request to come again. Afterwards
the database holds what the answers said, and the server is the same process, no larger than before.
"""

from __future__ import annotations

import asyncio
import random
import resource
import secrets
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import click
import httpx2

from benchmarks.suites import ROOT
from greenroom.docker.client import QUICK, DockerError
from greenroom.docker.stack import Stack

API: Final = "/api/v1"
PASSWORD: Final = "correct horse battery staple"  # noqa: S105
USERS: Final = 8
FLAT: Final = 16.0
"""MiB by which the server may be larger after the last round than after the second: by then all its pools are full."""

# Run in the container: the server's process, and how large it is and was (MiB).
_MEMORY: Final = """
import os, pathlib
for folder in pathlib.Path("/proc").glob("[0-9]*"):
    if int(folder.name) != os.getpid() and b"spawn_main" in (folder / "cmdline").read_bytes():
        lines = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
        print(folder.name, *(int(lines[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM")))
"""


@dataclass(frozen=True)
class Server:
    """The server's process.

    Attributes:
        pid: Its number in the container.
        now: Its size in MiB.
        most: The most that it has had.
    """

    pid: int
    now: float
    most: float

    @classmethod
    def of(cls, stack: Stack) -> Server:
        """Look at it."""
        said = stack.compose("exec", "--no-TTY", "app", "python", "-c", _MEMORY, seconds=60).split()
        return cls(int(said[0]), float(said[1]), float(said[2]))


@dataclass
class User:
    """Somebody who uses the service.

    Attributes:
        email: Their address.
        headers: With their access token.
        aliases: The providers that they have, by path.
        connected: The path of the one that is authorised, which stays as it is.
    """

    email: str
    headers: dict[str, str]
    aliases: dict[str, str] = field(default_factory=dict)
    connected: str = ""


class Wrong(Exception):
    """An answer that is none to the request."""


@dataclass
class Round:
    """A thousand requests, and what came of them.

    Attributes:
        answers: How many there were of each status.
        wrong: What was lost or wrong.
        seconds: How long each took.
    """

    answers: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


class Load:
    """The requests.

    Args:
        http: Sends them.
        users: Whose they are.
    """

    def __init__(self, http: httpx2.AsyncClient, users: list[User]) -> None:
        self._http = http
        self._users = users
        self._kinds: list[tuple[int, Callable[[Round, User], Awaitable[None]]]] = [
            (25, self._read_me),
            (20, self._list),
            (15, self._read),
            (12, self._add),
            (8, self._rename),
            (6, self._synchronise),
            (5, self._log_in),
            (5, self._send_nonsense),
            (4, self._come_as_a_stranger),
        ]

    async def round(self, requests: int) -> Round:
        """Send so many requests at the same time."""
        result = Round()
        weights, kinds = zip(*self._kinds, strict=True)
        chosen = random.choices(kinds, weights, k=requests)
        await asyncio.gather(*(self._one(result, kind) for kind in chosen))
        return result

    async def _one(self, result: Round, kind: Callable[[Round, User], Awaitable[None]]) -> None:
        began = time.perf_counter()
        try:
            await kind(result, random.choice(self._users))
        except (Wrong, httpx2.HTTPError, KeyError, ValueError) as error:
            result.wrong.append(f"{kind.__name__}: {type(error).__name__}: {error}")
        result.seconds.append(time.perf_counter() - began)

    async def _ask(
        self, result: Round, expected: set[int], method: str, path: str, **options: Any
    ) -> Any | None:
        """Send a request. Returns what came back, or None where it was refused as it may be."""
        response = await self._http.request(method, path, **options)
        result.answers[str(response.status_code)] += 1
        document = response.json()
        if response.status_code in (429, 503):
            if int(response.headers["Retry-After"]) < 1:
                raise Wrong(f"{response.status_code} with Retry-After {response.headers['Retry-After']}")
            return None
        if response.status_code not in expected:
            raise Wrong(f"{method} {path}: {response.status_code} {response.text[:200]}")
        if response.status_code >= 400:
            _check(document["status"], response.status_code)
            return None
        return document

    async def _read_me(self, result: Round, user: User) -> None:
        if (found := await self._ask(result, {200}, "GET", f"{API}/me", headers=user.headers)) is not None:
            _check(found["email"], user.email)

    async def _list(self, result: Round, user: User) -> None:
        path = f"{API}/providers?limit=5"
        if (found := await self._ask(result, {200}, "GET", path, headers=user.headers)) is not None:
            _check(len(found["items"]), min(found["limit"], found["total"]))

    async def _read(self, result: Round, user: User) -> None:
        found = await self._ask(result, {200}, "GET", user.connected, headers=user.headers)
        if found is not None:
            _check((found["alias"], found["connection"]["status"]), ("Connected", "active"))

    async def _add(self, result: Round, user: User) -> None:
        body = {"key": "sandbox", "alias": secrets.token_hex(8)}
        found = await self._ask(result, {201}, "POST", f"{API}/providers", json=body, headers=user.headers)
        if found is not None:
            _check(found["alias"], body["alias"])
            user.aliases[f"{API}/providers/{found['id']}"] = body["alias"]

    async def _rename(self, result: Round, user: User) -> None:
        # Taken out meanwhile: two that rename the same one would not know whose name it has.
        if not user.aliases:
            await self._read_me(result, user)
            return
        path, before = user.aliases.popitem()
        alias = secrets.token_hex(8)
        found = await self._ask(result, {200}, "PATCH", path, json={"alias": alias}, headers=user.headers)
        if found is not None:
            _check(found["alias"], alias)
        user.aliases[path] = alias if found is not None else before

    async def _synchronise(self, result: Round, user: User) -> None:
        # 409: another is at it.
        path = f"{user.connected}/sync"
        if (found := await self._ask(result, {200, 409}, "POST", path, headers=user.headers)) is not None:
            _check(len(found["accounts"]), 2)

    async def _log_in(self, result: Round, user: User) -> None:
        body = {"email": user.email, "password": PASSWORD}
        if (found := await self._ask(result, {200}, "POST", f"{API}/auth/login", json=body)) is not None:
            _check(found["token_type"], "Bearer")

    async def _send_nonsense(self, result: Round, user: User) -> None:
        await self._ask(
            result, {422}, "POST", f"{API}/providers", json={"alias": "\x00"}, headers=user.headers
        )

    async def _come_as_a_stranger(self, result: Round, _user: User) -> None:
        await self._ask(result, {401}, "GET", f"{API}/audit")

    async def compare(self) -> list[str]:
        """Compare what the service holds with what its answers said. Returns what differs."""
        wrong = []
        for user in self._users:
            held: dict[str, str] = {}
            total = 1
            while len(held) < total:
                path = f"{API}/providers?limit=100&offset={len(held)}"
                page = (await self._http.get(path, headers=user.headers)).raise_for_status().json()
                held |= {f"{API}/providers/{item['id']}": item["alias"] for item in page["items"]}
                total = page["total"]
            if held != user.aliases | {user.connected: "Connected"}:
                wrong.append(f"{user.email} has {len(held)} providers, not {len(user.aliases) + 1}")
        return wrong


def _check(found: object, expected: object) -> None:
    if found != expected:
        raise Wrong(f"{found!r} in place of {expected!r}")


async def _sign_up(http: httpx2.AsyncClient) -> User:
    """A new user with a provider that is authorised."""
    email = f"load-{secrets.token_hex(8)}@example.org"
    body = {"email": email, "password": PASSWORD}
    await _patiently(http, f"{API}/auth/register", body | {"name": "Load"})
    login = await _patiently(http, f"{API}/auth/login", body)
    user = User(email, {"Authorization": f"Bearer {login.json()['access_token']}"})
    added = await http.post(
        f"{API}/providers", json={"key": "sandbox", "alias": "Connected"}, headers=user.headers
    )
    user.connected = f"{API}/providers/{added.raise_for_status().json()['id']}"
    started = (await http.post(f"{user.connected}/authorise", headers=user.headers)).raise_for_status()
    url = started.json()["authorisation_url"]
    (await http.get(url, cookies=started.cookies, follow_redirects=True)).raise_for_status()
    return user


async def _patiently(http: httpx2.AsyncClient, path: str, body: dict[str, str]) -> httpx2.Response:
    """Log in or register; where there were too many, come again when the service says so."""
    for _ in range(10):
        response = await http.post(path, json=body)
        if response.status_code not in (429, 503):
            break
        await asyncio.sleep(int(response.headers["Retry-After"]))
    return response.raise_for_status()


async def _run(address: str, stack: Stack, requests: int, rounds: int) -> list[str]:
    wrong: list[str] = []
    limits = httpx2.Limits(max_connections=requests, max_keepalive_connections=0)
    async with httpx2.AsyncClient(base_url=address, timeout=120, limits=limits, trust_env=False) as http:
        load = Load(http, [await _sign_up(http) for _ in range(USERS)])
        servers = [Server.of(stack)]
        print(f"{address}: {USERS} users; the server has {servers[0].now:.0f} MiB")
        for number in range(1, rounds + 1):
            began = time.perf_counter()
            result = await load.round(requests)
            took = time.perf_counter() - began
            servers.append(Server.of(stack))
            wrong += result.wrong + await load.compare()
            slowest = sorted(result.seconds)
            print(
                f"round {number}: {len(result.seconds)} requests in {took:.1f} s"
                f" ({len(result.seconds) / took:.0f}/s; median {slowest[len(slowest) // 2]:.1f} s,"
                f" slowest {slowest[-1]:.1f} s), {len(result.wrong)} lost or wrong;"
                f" {', '.join(f'{status}: {count}' for status, count in sorted(result.answers.items()))};"
                f" {servers[-1].now:.0f} MiB, at most {servers[-1].most:.0f}"
            )
    if len({server.pid for server in servers}) > 1:
        wrong.append("the server died, and was started again")
    grown = servers[-1].now - servers[min(2, rounds)].now
    if grown > FLAT:
        wrong.append(f"the server has grown by {grown:.0f} MiB since the second round; at most {FLAT:.0f}")
    return wrong


@click.command(help=__doc__)
@click.option("--requests", default=1000, show_default=True, help="Requests at the same time.")
@click.option("--rounds", default=5, show_default=True, help="How often.")
def main(requests: int, rounds: int) -> None:
    """Put the stack of this checkout under load. The exit code is 1 where something was lost or wrong."""
    stack = Stack(ROOT, "app", ["compose/app.yaml"])
    try:
        address = f"http://{stack.compose('port', 'app', '8000', seconds=QUICK).strip()}"
    except DockerError as error:
        raise SystemExit(f"The application is not up: {error.message}. Start it: make up") from None
    # A connection each: many systems let a program have 1,024 files at first.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    wrong = asyncio.run(_run(address, stack, requests, rounds))
    for line in wrong[:20]:
        print(line, file=sys.stderr)
    print(f"{requests * rounds} requests, {len(wrong)} lost or wrong")
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
