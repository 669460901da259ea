from __future__ import annotations


def test_response_model(client, provider):
    client.get("/providers/a")


def test_validated_by_pydantic(client, provider):
    client.get("/providers/a/validated")


def test_swallowed_by_the_server(make_client, provider):
    response = make_client(raise_server_exceptions=False).get("/providers/a/connected")
    assert response.status_code == 200


def test_swallowed_and_unknown(make_client, provider):
    response = make_client(raise_server_exceptions=False).get("/broken")
    assert response.status_code == 200


def test_swallowed_and_expected(make_client, provider):
    assert make_client(raise_server_exceptions=False).get("/broken").status_code == 500
