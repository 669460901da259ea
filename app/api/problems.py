"""Errors as RFC 9457 problem documents: every status that is not a success is made here."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import models_json_schema
from sqlalchemy.exc import TimeoutError as NoFreeConnection
from starlette.exceptions import HTTPException
from starlette.routing import Match

from app import errors

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
SCHEMA_OF = "#/components/schemas/{model}"
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

STATUSES: Final[Mapping[type[errors.ServiceError], HTTPStatus]] = {
    errors.Refused: HTTPStatus.BAD_REQUEST,
    errors.Unauthenticated: HTTPStatus.UNAUTHORIZED,
    errors.TooMany: HTTPStatus.TOO_MANY_REQUESTS,
    errors.NotFound: HTTPStatus.NOT_FOUND,
    errors.Conflict: HTTPStatus.CONFLICT,
    errors.InvalidValue: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.UpstreamFailed: HTTPStatus.BAD_GATEWAY,
    errors.Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}
"""The HTTP status of each kind of error."""


class ProblemDetails(BaseModel):
    """What went wrong (RFC 9457). Some problems have further members."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(
        description="The stable name of the problem, a URN; about:blank where the status says it all."
    )
    title: str = Field(description="The name in words.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What happened this time.")
    instance: str = Field(description="The path of the request.")


class Fault(BaseModel):
    """One thing that is wrong with a request. The value is not repeated: it may be a password."""

    place: str = Field(serialization_alias="in", description="body, query, path, header or cookie")
    field: str = Field(description="The path to the field, with dots.")
    detail: str = Field(description="The rule that it breaks.")


class InvalidRequest(ProblemDetails):
    """What went wrong with the request as such: its faults, where it is these."""

    errors: list[Fault] | None = None


def install(app: FastAPI) -> None:
    """Make the application answer every error with a problem document, and say so in its OpenAPI document."""
    app.exception_handler(errors.ServiceError)(_on_service_error)
    app.exception_handler(HTTPException)(_on_http_error)
    app.exception_handler(RequestValidationError)(_on_invalid_request)
    app.exception_handler(NoFreeConnection)(_on_exhausted_pool)
    app.exception_handler(Exception)(_on_crash)
    _add_models(app)


def documented(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """The `responses` of an endpoint's OpenAPI description, for the problems it may answer with."""
    return {
        int(status): {
            "description": status.phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": SCHEMA_OF.format(model=_model(status).__name__)}}},
        }
        for status in statuses
    }


def status_of(error: errors.ServiceError) -> HTTPStatus:
    """The HTTP status of an error: that of its kind."""
    return next(status for kind, status in STATUSES.items() if isinstance(error, kind))


def _model(status: HTTPStatus) -> type[ProblemDetails]:
    return InvalidRequest if status is HTTPStatus.UNPROCESSABLE_ENTITY else ProblemDetails


def _add_models(app: FastAPI) -> None:
    # FastAPI adds the models of responses of its own media type alone.
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        _, schemas = models_json_schema(
            [(ProblemDetails, "serialization"), (InvalidRequest, "serialization")], ref_template=SCHEMA_OF
        )
        document.setdefault("components", {}).setdefault("schemas", {}).update(schemas["$defs"])
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to extend the document


def _response(
    request: Request,
    status: int,
    detail: str,
    *,
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
    **members: Any,
) -> JSONResponse:
    problem = _model(HTTPStatus(status))(
        type=f"urn:problem:{code}" if code else "about:blank",
        title=code.replace("-", " ").capitalize() if code else HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        instance=request.url.path,
        **members,
    )
    document = problem.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return JSONResponse(document, status, headers, MEDIA_TYPE)


async def _on_service_error(request: Request, error: errors.ServiceError) -> JSONResponse:
    headers = {}
    if isinstance(error, errors.Unauthenticated):  # RFC 6750 §3
        rejected = isinstance(error, errors.InvalidAccessToken)
        headers["WWW-Authenticate"] = 'Bearer error="invalid_token"' if rejected else "Bearer"
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    return _response(
        request, status_of(error), error.detail, code=error.code, headers=headers, **error.members
    )


async def _on_exhausted_pool(request: Request, _error: NoFreeConnection) -> JSONResponse:
    logger.warning("no connection to the database became free in time")
    return await _on_service_error(request, errors.Overloaded("The service is busy: try again soon."))


async def _on_http_error(request: Request, error: HTTPException) -> JSONResponse:
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_allowed_methods(request))
    return _response(request, error.status_code, error.detail, headers=headers)


def _allowed_methods(request: Request) -> list[str]:
    """What a path can be asked with. Starlette names the methods of one of its routes, and each method has its own here."""
    return [
        method
        for method in METHODS
        if any(
            route.matches({**request.scope, "method": method})[0] is Match.FULL
            for route in request.app.routes
        )
    ]


async def _on_invalid_request(request: Request, error: RequestValidationError) -> JSONResponse:
    faults = [
        Fault(place=str(where), field=".".join(map(str, path)), detail=fault["msg"])
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
