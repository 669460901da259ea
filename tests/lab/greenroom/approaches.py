"""The five approaches' tests as synchronous ones: the same services, the application's own pool, sessions and driver."""

from __future__ import annotations

import models
import pytest
import service
from fastapi.testclient import TestClient
from sqlalchemy import select


def test_approach_1_one_pool(run, async_session):
    run(models.create(async_session, "one"))


@pytest.mark.parametrize("number", range(3))
def test_approach_1_again(client, number):
    assert client.post("/providers/one").json() == 1


def test_approach_2_transaction_left_open(run, async_session):
    run(models.create(async_session, "two"))
    assert run(models.count(async_session)) == 1


def test_approach_3_attribute_after_commit(run, async_session):
    assert run(models.create(async_session, "three")).name == "three"


def test_approach_3_commit_after_a_conflict(run, async_session):
    assert run(models.create_once(async_session, "three"))
    assert not run(models.create_once(async_session, "three"))
    assert run(models.create_once(async_session, "four"))


def test_approach_3_nothing_is_left(session):
    assert session.scalars(select(models.Provider)).all() == []


def test_approach_4_two_commits(run, async_session, session):
    run(models.create(async_session, "four"))
    run(models.create(async_session, "five"))
    assert session.scalars(select(models.Provider.name).order_by(models.Provider.id)).all() == [
        "four",
        "five",
    ]


def test_approach_4_nothing_is_left(session):
    assert session.scalars(select(models.Provider)).all() == []


def test_approach_5_lazy_load_in_the_test(session):
    session.add(models.Provider(name="five"))
    session.commit()
    assert session.scalars(select(models.Provider)).one().connection is None


def test_approach_5_service_that_loads_lazily(client):
    provider = client.post("/providers/five").json()
    assert client.post(f"/providers/{provider}/token").json() == "stored"


def test_two_clients_at_once():
    with TestClient(service.app) as first, TestClient(service.app) as second:
        for number in range(20):
            assert first.post(f"/providers/first-{number}").status_code == 200
            assert second.post(f"/providers/second-{number}").status_code == 200
