"""One request that commits, per test. What it commits stays."""


async def test_create(client, number):
    response = await client.post("/items", json={"name": f"item {number}"})
    assert response.status_code == 201
    assert response.json() == {"items": number + 1}
