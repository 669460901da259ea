"""How much of a request is read.

FastAPI has a limit of its own by now, `max_body_size`: it answers in plain text, where every other error of the
service is a problem document.
"""

from http import HTTPStatus

from fastapi import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class LimitBodies:
    """ASGI middleware: a body that is larger than the limit is a 413, and the rest of it is not read.

    Args:
        app: What reads the bodies.
        limit: Bytes.
    """

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, with its body watched."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        arrived = 0

        async def receive_some() -> Message:
            # Raised where the body is read: there it becomes a problem document like every other error.
            nonlocal arrived
            self._check(int(announced) if announced.isdigit() else 0)
            message = await receive()
            arrived += len(message.get("body", b""))
            self._check(arrived)
            return message

        await self._app(scope, receive_some, send)

    def _check(self, size: int) -> None:
        if size > self._limit:
            raise HTTPException(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body is larger than {self._limit} bytes."
            )
