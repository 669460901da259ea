"""What runs the application. Each is a test of its own, so that two workers have something to do."""


def test_created(client):
    assert client.post("/items/one").status_code == 200
    assert client.post("/items/two").status_code == 200
    assert client.get("/items").json() == ["one", "two"]


def test_twice(client):
    first = client.post("/items/one").json()
    assert client.post("/items/one").json() == first


def test_together(client):
    assert client.get("/together").json() == [0, 1, 2, -1]


def test_threads(client):
    assert client.get("/threads").json() == [1, 2]
    assert client.get("/to-thread").json() == "aab"


def test_stream(client):
    assert client.get("/stream").text == "0\n1\n"


def test_empty(client):
    assert client.get("/items").json() == []
