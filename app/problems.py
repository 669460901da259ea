"""Errors as RFC 9457 problem documents: raised by the services, rendered here and nowhere else."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, ClassVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """An error that the client is told about.

    `code` is the stable name of the kind of problem, `detail` is what happened this time, in words that may
    be shown to anybody; further members go into the document as they are. Subclasses fix the HTTP status.
    """

    status: ClassVar[HTTPStatus]

    def __init__(
        self, code: str, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.headers = headers
        self.members = members


class BadRequest(Problem):
    """400: the request cannot be carried out, as sent."""

    status = HTTPStatus.BAD_REQUEST


class Unauthorised(Problem):
    """401: it is not known who asks."""

    status = HTTPStatus.UNAUTHORIZED

    def __init__(self, code: str, detail: str, *, error: str | None = None) -> None:
        challenge = f'Bearer error="{error}"' if error else "Bearer"
        super().__init__(code, detail, headers={"WWW-Authenticate": challenge})


class NotFound(Problem):
    """404: there is no such thing, or it is not the asker's."""

    status = HTTPStatus.NOT_FOUND


class Conflict(Problem):
    """409: the state of the thing does not allow it."""

    status = HTTPStatus.CONFLICT


class Unprocessable(Problem):
    """422: well-formed, but a value in it is wrong."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY


class BadGateway(Problem):
    """502: the provider did not answer, or not sensibly."""

    status = HTTPStatus.BAD_GATEWAY


class Unavailable(Problem):
    """503: something that the service needs is not there at the moment."""

    status = HTTPStatus.SERVICE_UNAVAILABLE


def _response(
    request: Request,
    status: int,
    detail: str,
    *,
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
    **members: Any,
) -> JSONResponse:
    document = {
        "type": f"urn:problem:{code}" if code else "about:blank",
        "title": code.replace("-", " ").capitalize() if code else HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": request.url.path,
        **members,
    }
    return JSONResponse(document, status, headers, MEDIA_TYPE)


async def _on_problem(request: Request, error: Problem) -> JSONResponse:
    return _response(
        request, error.status, error.detail, code=error.code, headers=error.headers, **error.members
    )


async def _on_http_error(request: Request, error: HTTPException) -> JSONResponse:
    return _response(request, error.status_code, error.detail, headers=error.headers)


async def _on_invalid_request(request: Request, error: RequestValidationError) -> JSONResponse:
    # Where and why, never the value: it may be a password.
    faults = [
        {"in": str(where), "field": ".".join(map(str, path)), "detail": fault["msg"]}
        for fault in error.errors()
        for where, *path in [fault["loc"]]
    ]
    return _response(
        request,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "The request is not valid; `errors` says where.",
        code="invalid-request",
        errors=faults,
    )


async def _on_crash(request: Request, _error: Exception) -> JSONResponse:
    # Starlette raises the error again after this answer, so that the server logs it.
    return _response(
        request, HTTPStatus.INTERNAL_SERVER_ERROR, "Something went wrong here; it has been logged."
    )


def install(app: FastAPI) -> None:
    """Make the application answer every error with a problem document."""
    app.exception_handler(Problem)(_on_problem)
    app.exception_handler(HTTPException)(_on_http_error)
    app.exception_handler(RequestValidationError)(_on_invalid_request)
    app.exception_handler(Exception)(_on_crash)


def documented(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """The `responses` of an endpoint's OpenAPI description, for the problems it may answer with."""
    text = {"type": "string"}
    schema = {
        "type": "object",
        "properties": {
            "type": text,
            "title": text,
            "status": {"type": "integer"},
            "detail": text,
            "instance": text,
        },
    }
    return {
        int(status): {"description": status.phrase, "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in statuses
    }
