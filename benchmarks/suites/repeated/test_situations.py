"""One test for each situation, as a user would write it. Names that begin with `test_no_` have nothing to be found."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from situations import EACH, Author, Book
from sqlalchemy import func, select


@pytest.fixture(autouse=True)
def authors(session):
    boss = None
    for number in EACH:
        boss = Author(name=f"author {number}", boss=boss, books=[Book(title="a"), Book(title="b")])
        session.add(boss)
        session.flush()
    session.commit()


@pytest.mark.parametrize(
    "path",
    [
        "collection", "many_to_one", "awaitable", "loop_select", "loop_get", "loop_count", "core_text", "literals", "in_lists",
        "deferred_column", "expired", "response_model", "tasks", "threads", "background", "helper", "chain", "few", "same",
    ],
)  # fmt: skip
def test_found(client, path):
    assert client.get(f"/{path}").status_code == 200


def test_found_socket(client):
    with client.websocket_connect("/socket") as socket:
        assert [socket.receive_text() for _ in EACH]


@pytest.mark.parametrize("path", ["insert_each", "update_each", "flush_each"])
def test_found_write(client, path):
    assert client.post(f"/{path}").status_code == 200


@pytest.fixture
def loaded(client):
    return client.get("/loop_select").json()


def test_found_fixture(loaded):
    assert loaded


def test_found_run(run):
    from situations import work

    run(work())


@pytest.mark.parametrize("path", ["selectin", "joined", "pages", "keyset", "chunks", "places"])
def test_no(client, path):
    assert client.get(f"/{path}").status_code == 200


@pytest.mark.parametrize("path", ["insert_many", "change_many", "delete_many"])
def test_no_write(client, path):
    assert client.post(f"/{path}").status_code == 200


def test_no_requests(client):
    for number in EACH:
        assert client.get(f"/one/{number}").json() == f"author {number}"


def test_no_requests_at_once(client):
    with ThreadPoolExecutor(6) as pool:
        assert len(list(pool.map(lambda number: client.get(f"/one/{number}").json(), EACH))) == 6


def test_no_own_lazy_loads(client, session):
    assert client.get("/selectin").status_code == 200
    assert [len(author.books) for author in session.scalars(select(Author))] == [2] * 6


def test_no_own_queries(client, session):
    for number in EACH:
        client.post("/insert_many")
        assert session.scalar(select(func.count()).select_from(Book)) == 12 + 12 * number
        session.rollback()
