"""Requests at the same time: the database decides who wins, and nobody waits for ever."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from httpx2 import Response
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from app.models import Provider
from tests.api.helpers import add_provider, approve, assert_problem, authorise, by_status, ok, start
from tests.fixtures import OutsideProvider


def test_creations_with_the_same_alias(
    user: TestClient, session: Session, at_once: Callable[..., list[Response]]
) -> None:
    """Of creations at once with one alias exactly one succeeds."""
    body = {"key": "sandbox", "alias": "Everyday"}

    responses = at_once(*[lambda: user.post("/api/v1/providers", json=body)] * 3)

    assert by_status(responses) == [201, 409, 409]
    for response in responses:
        if response.status_code == 409:
            assert_problem(response, 409, "alias-taken")
    assert session.scalar(select(func.count()).select_from(Provider)) == 1


def test_renames_to_the_same_alias(user: TestClient, at_once: Callable[..., list[Response]]) -> None:
    """Of renames at once to one alias exactly one succeeds."""
    one, two = add_provider(user, alias="One"), add_provider(user, alias="Two")

    responses = at_once(
        lambda: user.patch(one, json={"alias": "Same"}), lambda: user.patch(two, json={"alias": "Same"})
    )

    assert by_status(responses) == [200, 409]


def test_refreshes_of_the_same_version(
    user: TestClient, connected: str, at_once: Callable[..., list[Response]]
) -> None:
    """Of refreshes at once of one version exactly one succeeds, and the grant survives it."""
    body = {"expected_version": 1}

    responses = at_once(*[lambda: user.post(f"{connected}/refresh", json=body)] * 3)

    assert by_status(responses) == [200, 409, 409]
    connection = ok(user.get(connected))["connection"]
    assert (connection["status"], connection["token"]["version"]) == ("active", 2)
    # Had two of them shown the sandbox the same token, it would have ended the grant.
    ok(user.post(f"{connected}/refresh"))


def test_refreshes_of_whichever_version(
    user: TestClient, connected: str, at_once: Callable[..., list[Response]]
) -> None:
    """Refreshes at once never present the same token: as many succeed as there are new versions."""
    responses = at_once(*[lambda: user.post(f"{connected}/refresh")] * 3)

    succeeded = [response for response in responses if response.status_code == 200]
    assert len(succeeded) >= 1
    connection = ok(user.get(connected))["connection"]
    assert (connection["status"], connection["token"]["version"]) == ("active", 1 + len(succeeded))
    ok(user.post(f"{connected}/refresh"))


def test_requests_during_a_refresh(
    user: TestClient, schwab: OutsideProvider, connected_schwab: str, threads: ThreadPoolExecutor
) -> None:
    """While the provider is asked for new tokens, others are told to come back, and may read all the same."""
    schwab.hold()
    refresh: Future[Response] = threads.submit(user.post, f"{connected_schwab}/refresh")
    schwab.wait_for_request()

    for action in ("refresh", "sync", "disconnect"):
        assert_problem(user.post(f"{connected_schwab}/{action}"), 409, "busy")
    assert_problem(user.delete(connected_schwab), 409, "busy")
    assert ok(user.get(connected_schwab))["connection"]["token"]["version"] == 1
    assert ok(user.patch(connected_schwab, json={"alias": "Renamed"}))["alias"] == "Renamed"
    assert not refresh.done()

    schwab.release()
    assert ok(refresh.result())["connection"]["token"]["version"] == 2
    body = {"expected_version": 1}
    assert_problem(user.post(f"{connected_schwab}/refresh", json=body), 409, "stale-version")


def test_callbacks_at_once(user: TestClient, provider: str, at_once: Callable[..., list[Response]]) -> None:
    """Of two ways back at once with one state exactly one is taken: the code is traded once."""
    path = approve(user, start(user, provider))

    responses = at_once(lambda: user.get(path), lambda: user.get(path))

    assert by_status(responses)[0] == 200
    assert by_status(responses)[1] in {400, 409}  # used already, or being used
    assert ok(user.post(f"{provider}/refresh"))["connection"]["status"] == "active"


def test_users_do_not_wait_for_each_other(
    user: TestClient, other_user: TestClient, schwab: OutsideProvider, threads: ThreadPoolExecutor
) -> None:
    """While one user's provider does not answer, another user's is synchronised."""
    slow = add_provider(user, key="schwab")
    authorise(user, slow)
    quick = add_provider(other_user)
    authorise(other_user, quick)
    schwab.hold()
    waiting = threads.submit(user.post, f"{slow}/sync")
    schwab.wait_for_request()

    ok(other_user.post(f"{quick}/sync"))

    assert not waiting.done()
    schwab.release()
    ok(waiting.result())
