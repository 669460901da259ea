"""How much of a request is read."""

import pytest
from fastapi import HTTPException
from starlette.types import Message, Receive, Scope, Send

from app.api.bodies import LimitBodies
from greenroom.typing import Run


class Peer:
    """A client that sends chunks of four bytes for as long as somebody reads them. `sent` counts them."""

    def __init__(self) -> None:
        self.sent = 0

    async def receive(self) -> Message:
        """The next chunk."""
        self.sent += 1
        return {"type": "http.request", "body": b"1234", "more_body": True}

    async def send(self, message: Message) -> None:
        """Take no answer."""


async def read_all(_scope: Scope, receive: Receive, _send: Send) -> None:
    """An application that reads whatever comes."""
    while True:
        await receive()


def ask(run: Run, peer: Peer, **headers: str) -> str:
    """Send a body to an application that takes ten bytes. Returns why it was refused."""
    scope = {"type": "http", "headers": [(name.encode(), value.encode()) for name, value in headers.items()]}
    with pytest.raises(HTTPException) as caught:
        run(LimitBodies(read_all, limit=10)(scope, peer.receive, peer.send))
    assert caught.value.status_code == 413
    return str(caught.value.detail)


def test_announced_body_is_not_begun(run: Run) -> None:
    """Of a body whose length is announced as too large nothing is read."""
    peer = Peer()

    assert ask(run, peer, **{"content-length": "11"}) == "The body is larger than 10 bytes."
    assert peer.sent == 0


@pytest.mark.parametrize(
    "headers", [{}, {"content-length": "7"}, {"content-length": "-1"}, {"content-length": "²"}]
)
def test_body_is_read_up_to_the_limit(run: Run, headers: dict[str, str]) -> None:
    """Whatever is announced, no more is read than the chunk that is one too many."""
    peer = Peer()

    ask(run, peer, **headers)

    assert peer.sent == 3


def test_other_than_requests(run: Run) -> None:
    """What is no request, such as the lifespan, passes as it is."""
    seen = []

    async def application(scope: Scope, receive: Receive, _send: Send) -> None:
        seen.append((scope["type"], receive))

    peer = Peer()
    run(LimitBodies(application, limit=10)({"type": "lifespan"}, peer.receive, peer.send))

    assert seen == [("lifespan", peer.receive)]
