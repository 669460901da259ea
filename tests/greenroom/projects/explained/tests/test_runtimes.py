from __future__ import annotations

import asyncio

import anyio
import pytest


def test_cancel_scope(run):
    async def leave(scope):
        scope.__exit__(None, None, None)  # here: cancel_scope

    async def enter():
        scope = anyio.CancelScope()
        scope.__enter__()
        await asyncio.create_task(leave(scope))

    run(enter())


class Foreign:
    def __await__(self):
        yield "something"  # here: bad_yield


def test_bad_yield(run):
    async def wait():
        await Foreign()

    run(wait())


@pytest.fixture
def narrow():
    return 1


@pytest.fixture(scope="module")
def wide(narrow):
    return narrow


def test_scope_mismatch(wide):
    pass
