"""Clients: `AsyncClient(transport=ASGITransport(app))` becomes `make_client(…)`."""

from __future__ import annotations

from typing import Final

import libcst as cst

from greenroom.convert.reading.modules import Module

CLIENTS: Final = {"httpx.AsyncClient", "httpx2.AsyncClient"}

_TRANSPORTS: Final = {f"{name}.ASGITransport" for name in ("httpx", "httpx2", "httpx._transports.asgi")}

LIFESPANS: Final = {"asgi_lifespan.LifespanManager", "asgi_lifespan._manager.LifespanManager"}

_OF_TRANSPORT: Final = {
    "raise_app_exceptions": "raise_server_exceptions",
    "root_path": "root_path",
    "client": "client",
}

_OF_CLIENT: Final = {"base_url", "headers", "cookies", "follow_redirects"}

_WITHOUT_EFFECT: Final = {"timeout", "http2", "verify"}
"""No request of theirs goes over a network, and greenroom bounds each with its own timeout."""

_RULES: Final = "a client with {} has no synchronous counterpart"


class Creation:
    """Where a client of an application is made.

    Attributes:
        options: The arguments for `make_client`, `app` excepted.
        app: The application's expression.
        reason: Why it has no synchronous counterpart; empty if it has one.
        of_server: It is a client of a server, and of no application.
    """

    def __init__(self, call: cst.Call, module: Module, transports: dict[str, cst.Call]) -> None:
        self.options: list[cst.Arg] = []
        self.app: cst.BaseExpression | None = None
        self.reason = ""
        self.of_server = False
        names = {_keyword(each): each for each in call.args}
        transport = names.pop("transport", None)
        if transport is not None:
            made = transport.value
            if isinstance(made, cst.Name):
                made = transports.get(made.value, made)
            if not isinstance(made, cst.Call) or module.qualified(made.func) not in _TRANSPORTS:
                self.reason = "its transport is not ASGITransport(…)"
                return
            self._take_transport(made)
        if (app := names.pop("app", None)) is not None:
            self.app = app.value
        if self.app is None:
            self.of_server = transport is None
            self.reason = self.reason or "it is a client of no application, but of a server"
            return
        for name, each in names.items():
            if name in _OF_CLIENT:
                self.options.append(each)
            elif name not in _WITHOUT_EFFECT:
                self.reason = _RULES.format(name or "these arguments")
        if "follow_redirects" not in names:
            # TestClient follows them by default, AsyncClient does not.
            self.options.append(_argument("follow_redirects", cst.Name("False")))

    def _take_transport(self, call: cst.Call) -> None:
        for each in call.args:
            name = _keyword(each) or "app"
            if name == "app":
                self.app = each.value
            elif name in _OF_TRANSPORT:
                self.options.append(_argument(_OF_TRANSPORT[name], each.value))
            else:
                self.reason = _RULES.format(name)

    def call(self, *, own: bool) -> cst.Call:
        """The call of `make_client`.

        Args:
            own: It is the application that greenroom is configured for, started up.
        """
        arguments = [
            each.with_changes(comma=cst.MaybeSentinel.DEFAULT, whitespace_after_arg=cst.SimpleWhitespace(""))
            for each in self.options
        ]
        if not own:
            assert self.app is not None
            arguments.insert(0, _argument("app", self.app))
        return cst.Call(cst.Name("make_client"), arguments)


def _keyword(argument: cst.Arg) -> str:
    return argument.keyword.value if argument.keyword is not None else ""


def _argument(name: str, value: cst.BaseExpression) -> cst.Arg:
    tight = cst.AssignEqual(cst.SimpleWhitespace(""), cst.SimpleWhitespace(""))
    return cst.Arg(value=value, keyword=cst.Name(name), equal=tight)
