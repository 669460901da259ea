"""/providers: add, list, read, rename, remove."""

import pytest
from httpx2 import AsyncClient
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.models import Connection, Provider, Token
from tests.api.helpers import add_provider, assert_problem, authorise, ok
from tests.fixtures import Configure, OutsideProvider

pytestmark = pytest.mark.asyncio(loop_scope="session")

UNKNOWN = "/api/v1/providers/00000000-0000-0000-0000-000000000000"


# -- POST /providers --


async def test_create(user: AsyncClient) -> None:
    """A new provider has a pending connection without tokens, and can be read where Location says."""
    response = await user.post("/api/v1/providers", json={"key": "sandbox", "alias": " Everyday 🏦 "})

    provider = ok(response, 201)
    assert (provider["key"], provider["alias"]) == ("sandbox", "Everyday 🏦")
    assert provider["entry"]["name"] == "Sandbox"
    assert provider["connection"] == {
        "id": provider["connection"]["id"],
        "status": "pending",
        "error_count": 0,
        "sync_count": 0,
        "last_error": None,
        "last_sync_at": None,
        "token": None,
    }
    assert provider["created_at"] == provider["updated_at"]
    assert response.headers["Location"] == f"/api/v1/providers/{provider['id']}"
    assert ok(await user.get(response.headers["Location"])) == provider


@pytest.mark.parametrize("host", ["testserver", "evil.example"])
async def test_location_behind_a_public_url(user: AsyncClient, reconfigure: Configure, host: str) -> None:
    """Location is on PUBLIC_URL, whatever host the request names."""
    reconfigure(PUBLIC_URL="https://app.example/")

    body = {"key": "sandbox", "alias": "Everyday"}
    response = await user.post("/api/v1/providers", json=body, headers={"Host": host})

    identifier = ok(response, 201)["id"]
    assert response.headers["Location"] == f"https://app.example/api/v1/providers/{identifier}"


async def test_create_of_an_unknown_key(user: AsyncClient) -> None:
    """What the catalogue does not have cannot be added."""
    response = await user.post("/api/v1/providers", json={"key": "mattress", "alias": "x"})

    assert_problem(response, 422, "unknown-key")


async def test_create_of_what_is_not_available(user: AsyncClient) -> None:
    """What is to come cannot be added yet."""
    response = await user.post("/api/v1/providers", json={"key": "fidelity", "alias": "x"})

    document = assert_problem(response, 409, "not-available")
    assert document["detail"] == "Fidelity is not available yet."


async def test_create_with_an_alias_that_is_taken(
    user: AsyncClient, session: AsyncSession, provider: str
) -> None:
    """An alias names one of a user's providers, of whichever key."""
    response = await user.post("/api/v1/providers", json={"key": "schwab", "alias": "Everyday"})

    assert_problem(response, 409, "alias-taken")
    assert (await session.scalars(select(Provider.key))).all() == ["sandbox"]


async def test_create_with_the_alias_of_another_user(other_user: AsyncClient, provider: str) -> None:
    """Users do not share their aliases."""
    await add_provider(other_user, alias="Everyday")


async def test_create_invalid_body(user: AsyncClient) -> None:
    """Each fault of the body is reported at its field."""
    for body, field in [
        ({"alias": "x"}, "key"),
        ({"key": "sandbox"}, "alias"),
        ({"key": "Not A Key", "alias": "x"}, "key"),
        ({"key": "sandbox", "alias": "x" * 81}, "alias"),
        ({"key": "sandbox", "alias": "nul\x00"}, "alias"),
        ({"key": "sandbox", "alias": "x", "user_id": 2}, "user_id"),
    ]:
        response = await user.post("/api/v1/providers", json=body)

        (fault,) = assert_problem(response, 422, "invalid-request")["errors"]
        assert (fault["in"], fault["field"]) == ("body", field)


# -- GET /providers --


async def test_list_of_nothing(user: AsyncClient) -> None:
    """Who has added nothing has an empty list."""
    assert ok(await user.get("/api/v1/providers")) == {"items": [], "total": 0, "limit": 20, "offset": 0}


async def test_list_in_pages(user: AsyncClient) -> None:
    """The list is in the order of creation, in pages that tell how many there are in all."""
    for alias in "CAB":
        await add_provider(user, alias=alias)

    first = ok(await user.get("/api/v1/providers?limit=2"))
    second = ok(await user.get("/api/v1/providers?limit=2&offset=2"))
    beyond = ok(await user.get("/api/v1/providers?limit=2&offset=4"))

    assert [item["alias"] for item in first["items"]] == ["C", "A"]
    assert [item["alias"] for item in second["items"]] == ["B"]
    assert beyond["items"] == []
    assert [(page["total"], page["limit"], page["offset"]) for page in (first, second, beyond)] == [
        (3, 2, 0),
        (3, 2, 2),
        (3, 2, 4),
    ]


async def test_list_is_the_users_own(user: AsyncClient, other_user: AsyncClient, provider: str) -> None:
    """Nobody sees another user's providers."""
    mine = await add_provider(other_user, alias="Mine")

    (item,) = ok(await other_user.get("/api/v1/providers"))["items"]
    assert mine.endswith(item["id"])


async def test_list_with_filters(user: AsyncClient) -> None:
    """The list can be narrowed to a key and to the status of the connection; the total counts what is left."""
    await authorise(user, await add_provider(user, alias="Active"))
    await add_provider(user, alias="Pending")
    await add_provider(user, key="schwab", alias="Broker")
    expected = {
        "key=sandbox": ["Active", "Pending"],
        "key=schwab": ["Broker"],
        "key=chase": [],
        "status=active": ["Active"],
        "status=pending": ["Pending", "Broker"],
        "status=pending&key=sandbox": ["Pending"],
        "status=revoked": [],
    }

    pages = {query: ok(await user.get(f"/api/v1/providers?{query}")) for query in expected}

    assert {query: [item["alias"] for item in page["items"]] for query, page in pages.items()} == expected
    assert all(page["total"] == len(page["items"]) for page in pages.values())


async def test_list_invalid_query(user: AsyncClient) -> None:
    """A parameter out of its range is an invalid request."""
    for query, field in [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=many", "limit"),
        ("offset=-1", "offset"),
        ("offset=99999999999", "offset"),
        ("status=fine", "status"),
        ("key=Not%20a%20key", "key"),
        ("key=%00", "key"),
    ]:
        response = await user.get(f"/api/v1/providers?{query}")

        (fault,) = assert_problem(response, 422, "invalid-request")["errors"]
        assert (fault["in"], fault["field"]) == ("query", field)


# -- GET /providers/{id} --


async def test_read(user: AsyncClient, connected: str) -> None:
    """One provider is shown with its catalogue entry and connection; of the tokens, only what may be known."""
    provider = ok(await user.get(connected))

    assert connected.endswith(provider["id"])
    assert provider["connection"]["status"] == "active"
    token = provider["connection"]["token"]
    assert token.keys() == {"version", "scopes", "expires_at"}
    assert (token["version"], token["scopes"]) == (1, ["accounts"])


async def test_provider_that_is_not_the_users(
    user: AsyncClient, other_user: AsyncClient, connected: str
) -> None:
    """Another user's provider, and one that does not exist, are not found; an id that is none is invalid."""
    before = ok(await user.get(connected))

    for method, action, body in [
        ("GET", "", None),
        ("PATCH", "", {"alias": "x"}),
        ("DELETE", "", None),
        ("POST", "/authorise", None),
        ("POST", "/refresh", None),
        ("POST", "/sync", None),
        ("POST", "/disconnect", None),
    ]:
        foreign = await other_user.request(method, f"{connected}{action}", json=body)
        unknown = await other_user.request(method, f"{UNKNOWN}{action}", json=body)
        invalid = await other_user.request(method, f"/api/v1/providers/7{action}", json=body)
        assert_problem(foreign, 404, "no-such-provider")
        assert_problem(unknown, 404, "no-such-provider")
        (fault,) = assert_problem(invalid, 422, "invalid-request")["errors"]
        assert (fault["in"], fault["field"]) == ("path", "provider_id")

    assert ok(await user.get(connected)) == before


# -- PATCH /providers/{id} --


async def test_rename(user: AsyncClient, provider: str) -> None:
    """A provider gets another alias, and is otherwise as it was."""
    before = ok(await user.get(provider))

    after = ok(await user.patch(provider, json={"alias": " Holidays "}))

    assert after["alias"] == "Holidays"
    assert after.pop("updated_at") != before.pop("updated_at")
    assert after == before | {"alias": "Holidays"}
    assert ok(await user.get(provider))["alias"] == "Holidays"


async def test_rename_to_the_same(user: AsyncClient, provider: str) -> None:
    """Giving the alias that it has is no conflict, and no change."""
    before = ok(await user.get(provider))

    assert ok(await user.patch(provider, json={"alias": "Everyday"})) == before


async def test_rename_to_an_alias_that_is_taken(user: AsyncClient, provider: str) -> None:
    """An alias names one of a user's providers."""
    other = await add_provider(user, alias="Holidays")

    assert_problem(await user.patch(other, json={"alias": "Everyday"}), 409, "alias-taken")

    assert ok(await user.get(other))["alias"] == "Holidays"


async def test_rename_invalid_body(user: AsyncClient, provider: str) -> None:
    """An alias is needed, and it is all that can be changed."""
    for body in ({}, {"alias": ""}, {"alias": "x", "key": "schwab"}):
        assert_problem(await user.patch(provider, json=body), 422, "invalid-request")


# -- DELETE /providers/{id} --


async def test_delete(user: AsyncClient, session: AsyncSession, connected: str) -> None:
    """A provider goes with its connection and its tokens, and is not found from then on."""
    response = await user.delete(connected)

    assert (response.status_code, response.content) == (204, b"")
    for model in (Provider, Connection, Token):
        assert await session.scalar(select(func.count()).select_from(model)) == 0
    assert_problem(await user.get(connected), 404, "no-such-provider")
    assert_problem(await user.delete(connected), 404, "no-such-provider")


async def test_delete_frees_the_alias(user: AsyncClient, provider: str) -> None:
    """After a removal the alias may be used again."""
    await user.delete(provider)

    await add_provider(user, alias="Everyday")


async def test_delete_revokes_the_tokens_at_the_provider(
    user: AsyncClient, schwab: OutsideProvider, connected_schwab: str
) -> None:
    """The provider is told to forget the tokens."""
    await user.delete(connected_schwab)

    assert (schwab.received[-1].path, schwab.received[-1].form["token"]) == ("/revoke", "refresh-1")


async def test_delete_although_the_provider_fails(
    user: AsyncClient, schwab: OutsideProvider, connected_schwab: str
) -> None:
    """A provider that does not answer does not keep a user from leaving it."""
    schwab.stop()

    assert (await user.delete(connected_schwab)).status_code == 204


async def test_delete_while_another_request_is_at_work(
    user: AsyncClient, session: AsyncSession, connected: str
) -> None:
    """While the connection is locked, the provider is not removed."""
    await session.execute(text("SELECT FROM connections FOR UPDATE"))

    assert_problem(await user.delete(connected), 409, "busy")

    await session.rollback()
    assert (await user.delete(connected)).status_code == 204
