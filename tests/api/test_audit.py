"""GET /audit."""

from starlette.testclient import TestClient

from tests.api.helpers import add_provider, assert_problem, authorise, ok


def actions(page: dict[str, list[dict[str, str]]]) -> list[str]:
    """The actions of a page of entries."""
    return [entry["action"] for entry in page["items"]]


def test_audit_of_a_registration(user: TestClient) -> None:
    """Registration and login are the user's own doing; the hash of the password is hidden."""
    page = ok(user.get("/api/v1/audit"))

    assert actions(page) == ["user.updated", "user.created"]
    login, registration = page["items"]
    assert (registration["entity_type"], registration["entity_id"]) == ("user", "1")
    assert registration["detail"]["email"] == {"from": None, "to": "ada@example.org"}
    assert registration["detail"]["password_hash"] == "(hidden)"
    assert list(login["detail"]) == ["last_login_at"]
    assert (page["total"], page["limit"], page["offset"]) == (2, 20, 0)


def test_audit_of_a_providers_life(user: TestClient, provider: str) -> None:
    """Newest first, the audit has every change of the provider, its connection and its tokens."""
    authorise(user, provider)
    ok(user.post(f"{provider}/sync"))
    ok(user.post(f"{provider}/refresh"))
    ok(user.patch(provider, json={"alias": "Renamed"}))
    ok(user.post(f"{provider}/disconnect"))
    user.delete(provider)

    done = actions(ok(user.get("/api/v1/audit?limit=100")))[::-1]

    assert done[:2] == ["user.created", "user.updated"]
    assert sorted(done[2:4]) == ["connection.created", "provider.created"]
    assert done[4] == "connection.updated"  # the start of the authorisation
    assert sorted(done[5:7]) == ["connection.updated", "token.created"]  # its end
    assert done[7:10] == ["connection.updated", "token.updated", "provider.updated"]  # sync, refresh, rename
    assert sorted(done[10:12]) == ["connection.updated", "token.deleted"]  # the disconnection
    assert sorted(done[12:]) == ["connection.deleted", "provider.deleted"]


def test_audit_of_a_change(user: TestClient, provider: str) -> None:
    """An update is recorded with the values before and after."""
    ok(user.patch(provider, json={"alias": "Renamed"}))

    entry = ok(user.get("/api/v1/audit?limit=1"))["items"][0]

    assert (entry["action"], entry["entity_id"]) == ("provider.updated", provider.rpartition("/")[2])
    assert entry["detail"]["alias"] == {"from": "Everyday", "to": "Renamed"}


def test_audit_is_the_users_own(user: TestClient, other_user: TestClient, provider: str) -> None:
    """Nobody sees what another user did."""
    assert "provider.created" in actions(ok(user.get("/api/v1/audit")))
    assert actions(ok(other_user.get("/api/v1/audit"))) == ["user.updated", "user.created"]


def test_audit_in_pages(user: TestClient) -> None:
    """Pages tell how many entries there are in all, and do not overlap."""
    for alias in "ABC":
        add_provider(user, alias=alias)

    pages = [ok(user.get(f"/api/v1/audit?limit=3&offset={offset}")) for offset in (0, 3, 6, 9)]

    assert [page["total"] for page in pages] == [8, 8, 8, 8]
    assert [len(page["items"]) for page in pages] == [3, 3, 2, 0]
    ids = [entry["id"] for page in pages for entry in page["items"]]
    assert ids == sorted(ids, reverse=True)
    assert len(set(ids)) == 8


def test_audit_of_one_type_of_entity(user: TestClient, provider: str) -> None:
    """The audit can be narrowed to one type of entity."""
    page = ok(user.get("/api/v1/audit?entity_type=connection"))

    assert actions(page) == ["connection.created"]
    assert page["total"] == 1
    assert ok(user.get("/api/v1/audit?entity_type=nothing"))["items"] == []


def test_audit_invalid_query(user: TestClient) -> None:
    """A parameter out of its range is an invalid request."""
    for query in ("limit=0", "limit=101", "offset=-1", "entity_type=A%00"):
        response = user.get(f"/api/v1/audit?{query}")

        (fault,) = assert_problem(response, 422, "invalid-request")["errors"]
        assert (fault["in"], fault["field"]) == ("query", query.partition("=")[0])
