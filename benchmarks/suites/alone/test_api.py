"""One request that commits, per test."""


def test_create(client, number):
    assert client({"name": f"item {number}"}).status_code == 201
