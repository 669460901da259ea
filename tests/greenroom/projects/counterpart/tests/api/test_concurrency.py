"""Requests at the same time: the database decides who wins, and nobody waits for ever."""

import asyncio

import pytest
from httpx2 import AsyncClient
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.models import Provider
from tests.api.helpers import add_provider, approve, assert_problem, authorise, by_status, ok, start
from tests.fixtures import OutsideProvider

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_creations_with_the_same_alias(user: AsyncClient, session: AsyncSession) -> None:
    """Of creations at once with one alias exactly one succeeds."""
    body = {"key": "sandbox", "alias": "Everyday"}

    responses = await asyncio.gather(*[user.post("/api/v1/providers", json=body) for _ in range(3)])

    assert by_status(responses) == [201, 409, 409]
    for response in responses:
        if response.status_code == 409:
            assert_problem(response, 409, "alias-taken")
    assert await session.scalar(select(func.count()).select_from(Provider)) == 1


async def test_renames_to_the_same_alias(user: AsyncClient) -> None:
    """Of renames at once to one alias exactly one succeeds."""
    one, two = await add_provider(user, alias="One"), await add_provider(user, alias="Two")

    responses = await asyncio.gather(
        user.patch(one, json={"alias": "Same"}), user.patch(two, json={"alias": "Same"})
    )

    assert by_status(responses) == [200, 409]


async def test_refreshes_of_the_same_version(user: AsyncClient, connected: str) -> None:
    """Of refreshes at once of one version exactly one succeeds, and the grant survives it."""
    body = {"expected_version": 1}

    responses = await asyncio.gather(*[user.post(f"{connected}/refresh", json=body) for _ in range(3)])

    assert by_status(responses) == [200, 409, 409]
    connection = ok(await user.get(connected))["connection"]
    assert (connection["status"], connection["token"]["version"]) == ("active", 2)
    # Had two of them shown the sandbox the same token, it would have ended the grant.
    ok(await user.post(f"{connected}/refresh"))


async def test_refreshes_of_whichever_version(user: AsyncClient, connected: str) -> None:
    """Refreshes at once never present the same token: as many succeed as there are new versions."""
    responses = await asyncio.gather(*[user.post(f"{connected}/refresh") for _ in range(3)])

    succeeded = [response for response in responses if response.status_code == 200]
    assert len(succeeded) >= 1
    connection = ok(await user.get(connected))["connection"]
    assert (connection["status"], connection["token"]["version"]) == ("active", 1 + len(succeeded))
    ok(await user.post(f"{connected}/refresh"))


async def test_requests_during_a_refresh(
    user: AsyncClient, schwab: OutsideProvider, connected_schwab: str
) -> None:
    """While the provider is asked for new tokens, others are told to come back, and may read all the same."""
    schwab.hold()
    refresh = asyncio.create_task(user.post(f"{connected_schwab}/refresh"))
    await asyncio.to_thread(schwab.wait_for_request)

    for action in ("refresh", "sync", "disconnect"):
        assert_problem(await user.post(f"{connected_schwab}/{action}"), 409, "busy")
    assert_problem(await user.delete(connected_schwab), 409, "busy")
    assert ok(await user.get(connected_schwab))["connection"]["token"]["version"] == 1
    assert ok(await user.patch(connected_schwab, json={"alias": "Renamed"}))["alias"] == "Renamed"
    assert not refresh.done()

    schwab.release()
    assert ok(await refresh)["connection"]["token"]["version"] == 2
    body = {"expected_version": 1}
    assert_problem(await user.post(f"{connected_schwab}/refresh", json=body), 409, "stale-version")


async def test_callbacks_at_once(user: AsyncClient, provider: str) -> None:
    """Of two ways back at once with one state exactly one is taken: the code is traded once."""
    path = await approve(user, await start(user, provider))

    responses = await asyncio.gather(user.get(path), user.get(path))

    assert by_status(responses)[0] == 200
    assert by_status(responses)[1] in {400, 409}  # used already, or being used
    assert ok(await user.post(f"{provider}/refresh"))["connection"]["status"] == "active"


async def test_users_do_not_wait_for_each_other(
    user: AsyncClient, other_user: AsyncClient, schwab: OutsideProvider
) -> None:
    """While one user's provider does not answer, another user's is synchronised."""
    slow = await add_provider(user, key="schwab")
    await authorise(user, slow)
    quick = await add_provider(other_user)
    await authorise(other_user, quick)
    schwab.hold()
    waiting = asyncio.create_task(user.post(f"{slow}/sync"))
    await asyncio.to_thread(schwab.wait_for_request)

    ok(await other_user.post(f"{quick}/sync"))

    assert not waiting.done()
    schwab.release()
    ok(await waiting)
