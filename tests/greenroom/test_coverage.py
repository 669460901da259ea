"""Coverage counts what runs inside SQLAlchemy's greenlets and in the loop's thread."""

from __future__ import annotations

import json

from tests.greenroom.conftest import Project

SETTINGS = """
[tool.coverage.run]
source = ["shop"]
branch = true
concurrency = {concurrency}
core = "ctrace"
"""

TESTS = """
    def test_it(client):
        client.post("/customers/a")
        client.get("/customers")
        client.get("/background")
"""


def missing(project: Project, concurrency: str) -> set[str]:
    """The lines of shop/main.py that count as not run, as source text."""
    with (project.root / "pyproject.toml").open("a") as file:
        file.write(SETTINGS.format(concurrency=concurrency))
    project.passes(TESTS, "--cov", "--cov-report=json:cov.json")
    report = json.loads((project.root / "cov.json").read_text())
    source = (project.root / "shop/main.py").read_text().splitlines()
    return {source[number - 1].strip() for number in report["files"]["shop/main.py"]["missing_lines"]}


AFTER_A_QUERY = {"return customer", 'return {"id": (await create(session, name)).id}'}
"""Lines after an awaited query, in a service and in the endpoint that awaits it."""


def test_lines_after_an_awaited_query(project: Project) -> None:
    """With both kinds of concurrency, the lines of an `async def` endpoint after an awaited query are counted."""
    lines = missing(project, '["greenlet", "thread"]')
    assert lines.isdisjoint(AFTER_A_QUERY)
    assert lines == {
        # What the tests do not call.
        "customer = (await session.scalars(select(Customer))).one()",
        "return len(customer.orders)",
        'return "hello"',
        "return word",
        "running = asyncio.get_running_loop()",
        'return {"loop": id(running), "lifespan": id(request.state.loop)}',
        "async def numbers() -> AsyncIterator[str]:",
        "try:",
        "for number in range(1000):",
        'yield f"{number}\\n"',
        "await asyncio.sleep(0.02 if number > 1 else 0)",
        'events.append("stream closed")',
        'return StreamingResponse(numbers(), media_type="text/plain")',
        'raise LookupError("broken on purpose")',
        'raise HTTPException(418, "short and stout")',
        "await socket.accept()",
        "async with new_session() as session:",
        "await create(session, await socket.receive_text())",
        "await socket.send_json(list(await session.scalars(select(Customer.name))))",
        "await socket.close()",
    }


def test_what_the_setting_is_for(project: Project) -> None:
    """With the default, they are lost: the setting is needed, and the test above can fail."""
    assert "return customer" in missing(project, '["thread"]')


def test_reference_configuration_has_it(pytestconfig: object) -> None:
    """This repository's own configuration has the setting that the test above shows to be right."""
    import tomllib
    from pathlib import Path

    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    run = tomllib.loads(text)["tool"]["coverage"]["run"]
    assert run["concurrency"] == ["greenlet", "thread"]
    assert run["core"] == "ctrace"
