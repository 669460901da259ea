"""Errors as problem documents (RFC 9457), in throw-away applications."""

import logging
from collections.abc import Iterator
from http import HTTPStatus
from typing import Annotated, Any

import pytest
from fastapi import FastAPI, HTTPException, Query
from pydantic import BaseModel, SecretStr
from starlette.testclient import TestClient

from app import errors
from app.api import problems
from app.main import create_app
from app.settings import DEVELOPMENT_ENCRYPTION_KEY, get_settings
from tests.fixtures import Configure


class Credentials(BaseModel):
    """A body with something in it that must not come back."""

    name: str
    password: SecretStr


def app_that_raises(error: Exception) -> FastAPI:
    """An application with the service's handlers and a route that fails."""
    app = FastAPI()
    problems.install(app)

    @app.get("/fail")
    async def fail(limit: Annotated[int, Query(le=10)] = 1) -> None:
        raise error

    @app.post("/fail")
    async def take(body: Credentials) -> None:
        raise error

    return app


class OutOfTea(errors.Conflict):
    """An error that the service does not have."""

    code = "out-of-tea"


def test_error_becomes_a_document() -> None:
    """An error is rendered with its kind's status, its code, its detail and its further members."""
    client = TestClient(app_that_raises(OutOfTea("The pot is empty.", cups=3)))

    response = client.get("/fail?x=1")

    assert response.status_code == 409
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json() == {
        "type": "urn:problem:out-of-tea",
        "title": "Out of tea",
        "status": 409,
        "detail": "The pot is empty.",
        "instance": "/fail",
        "cups": 3,
    }


def all_below(kind: type[Any]) -> Iterator[type[Any]]:
    """The subclasses of a class, and theirs."""
    for below in kind.__subclasses__():
        yield below
        yield from all_below(below)


def test_every_error_has_a_status_and_a_name() -> None:
    """Each error of the service is of a kind that has a status, and its code is its own."""
    kinds = [kind for kind in all_below(errors.ServiceError) if kind.__module__ == errors.__name__]
    named = [kind for kind in kinds if hasattr(kind, "code")]

    assert set(kinds) - set(named) == set(problems.STATUSES)
    assert len({kind.code for kind in named}) == len(named)
    assert {problems.status_of(kind("")) for kind in named} == set(problems.STATUSES.values())


@pytest.mark.parametrize(
    ("kind", "challenge"),
    [
        (errors.NotAuthenticated, "Bearer"),
        (errors.InvalidCredentials, "Bearer"),
        (errors.InvalidAccessToken, 'Bearer error="invalid_token"'),
    ],
)
def test_unauthenticated_challenges_the_client(kind: type[errors.Unauthenticated], challenge: str) -> None:
    """A 401 says in WWW-Authenticate how to authenticate (RFC 6750 §3)."""
    client = TestClient(app_that_raises(kind("Who are you?")))

    response = client.get("/fail")

    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == challenge


def test_http_exception_becomes_a_document() -> None:
    """An HTTPException of the framework has no code: its type is about:blank, its title the status's phrase."""
    client = TestClient(app_that_raises(HTTPException(418, "short and stout", {"X-Kind": "teapot"})))

    response = client.get("/fail")

    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.headers["X-Kind"] == "teapot"
    assert response.json() == {
        "type": "about:blank",
        "title": "I'm a Teapot",
        "status": 418,
        "detail": "short and stout",
        "instance": "/fail",
    }


def test_invalid_request_says_where_and_why() -> None:
    """Each fault of an invalid request comes with its place, and never with the value."""
    client = TestClient(app_that_raises(LookupError()))

    body = client.post("/fail", json={"password": ["s3cr3t"]})
    query = client.get("/fail?limit=s3cr3t")

    assert body.json()["errors"] == [
        {"in": "body", "field": "name", "detail": "Field required"},
        {"in": "body", "field": "password", "detail": "Input should be a valid string"},
    ]
    assert [(fault["in"], fault["field"]) for fault in query.json()["errors"]] == [("query", "limit")]
    for response in (body, query):
        assert response.status_code == 422
        assert response.json()["type"] == "urn:problem:invalid-request"
        assert "s3cr3t" not in response.text


def test_crash_tells_the_client_nothing() -> None:
    """An unhandled error in the service is a 500 problem document without details of the error."""
    app = create_app(get_settings())

    @app.get("/crash")
    async def crash() -> None:
        raise RuntimeError("the password is s3cr3t")

    response = TestClient(app, raise_server_exceptions=False).get("/crash")

    assert response.status_code == 500
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json() == {
        "type": "about:blank",
        "title": "Internal Server Error",
        "status": 500,
        "detail": "Something went wrong here; it has been logged.",
        "instance": "/crash",
    }


def test_crash_reaches_the_server() -> None:
    """After the answer the error goes on to the server, which logs it."""
    error = RuntimeError("as it is")

    with pytest.raises(RuntimeError) as caught:
        TestClient(app_that_raises(error)).get("/fail")

    assert caught.value is error


def test_documented_problems_are_in_the_schema() -> None:
    """`documented` describes each status as a problem document for OpenAPI."""
    responses = problems.documented(HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY)

    assert [(status, response["description"]) for status, response in responses.items()] == [
        (404, "Not Found"),
        (422, HTTPStatus.UNPROCESSABLE_ENTITY.phrase),
    ]
    assert [response["content"]["application/problem+json"]["schema"] for response in responses.values()] == [
        {"$ref": "#/components/schemas/ProblemDetails"},
        {"$ref": "#/components/schemas/InvalidRequest"},
    ]


def test_schema_promises_problem_documents_for_every_error() -> None:
    """Every error that the service's OpenAPI schema names is a problem document, whose model is in it."""
    schema = create_app(get_settings()).openapi()

    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            for status, response in operation["responses"].items():
                if int(status) >= 400:
                    ((media_type, content),) = response["content"].items()
                    assert media_type == "application/problem+json", (method, path, status)
                    assert content["schema"]["$ref"].rpartition("/")[2] in schema["components"]["schemas"]
    members = schema["components"]["schemas"]["ProblemDetails"]["properties"]
    assert set(members) == {"type", "title", "status", "detail", "instance"}
    assert set(schema["components"]["schemas"]["Fault"]["properties"]) == {"in", "field", "detail"}


@pytest.mark.parametrize(
    ("environment", "status"), [("development", 400), ("test", 400), ("staging", 400), ("production", 404)]
)
def test_sandbox_is_not_there_in_production(configure: Configure, environment: str, status: int) -> None:
    """The pretend provider answers (here: that the request is wrong) everywhere but in production."""
    assert get_settings().encryption_key.get_secret_value() == DEVELOPMENT_ENCRYPTION_KEY
    configure(
        ENVIRONMENT=environment,
        JWT_KEY="k" * 32,
        ENCRYPTION_KEY="k" * 43 + "=",
        PUBLIC_URL="https://app.example",
    )

    response = TestClient(create_app(get_settings())).get("/sandbox/authorize")

    assert response.status_code == status


def test_access_log_is_kept_free_of_queries() -> None:
    """Creating the application puts the filter on uvicorn's access log."""
    create_app(get_settings())
    record = logging.LogRecord(
        "uvicorn.access",
        logging.INFO,
        "",
        0,
        '%s - "%s %s HTTP/%s" %d',
        ("::1", "GET", "/back?code=s3cr3t", "1.1", 200),
        None,
    )

    assert logging.getLogger("uvicorn.access").filter(record)
    assert record.getMessage() == '::1 - "GET /back HTTP/1.1" 200'
