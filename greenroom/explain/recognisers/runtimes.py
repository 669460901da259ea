"""What asyncio, anyio and servers say of code that is not made for them, or that ends somewhere else than it began."""

from __future__ import annotations

from greenroom.diagnosis.explanation import Explanation
from greenroom.explain.failure import Failure
from greenroom.explain.registry import recogniser


@recogniser(
    "RuntimeError",
    says=r"^Attempted to exit (?:a )?cancel scope (?:in a different task than it was entered in|that isn't the current task)",
    section="cancel-scope-in-another-task",
)
def cancel_scope(failure: Failure) -> Explanation | None:
    """A task group or a timeout of anyio was left in another task than it was entered in."""
    if failure.raised_by_hand or not failure.passed("anyio/_backends/_asyncio.py"):
        return None
    return Explanation(
        "RuntimeError: a cancel scope of anyio was left in another task than it was entered in",
        f"{failure.quoted} leaves a cancel scope. Task groups, timeouts, streams and many clients are built on one.",
        "A scope belongs to the task that entered it. A generator that yields inside of one is often ended by another task: a fixture "
        "whose set-up and teardown are run one by one, a dependency, an `async for` that was broken off.",
        [
            (
                "enter and leave it in one function of one task:",
                "async def work() -> None:\n    async with anyio.create_task_group() as group:\n        …\n\nrun(work())",
            ),
            (
                "or close the generator where it is used:",
                "async with aclosing(rows()) as items:\n    async for item in items:\n        …",
            ),
        ],
    )


@recogniser("RuntimeError", says=r"^Task got bad yield: ", section="task-got-bad-yield")
def bad_yield(failure: Failure) -> Explanation | None:
    """Something was awaited that is not asyncio's."""
    if failure.raised_by_hand:
        return None
    return Explanation(
        "RuntimeError: something was awaited that is not made for asyncio",
        f"{failure.quoted} awaits what hands its event loop something else than a future of asyncio.",
        "An awaitable of trio or curio, or an `__await__` that yields values of its own, works on the loop that it is made for only.",
        [
            (
                "have anyio use asyncio, in its tests, too:",
                '@pytest.fixture\ndef anyio_backend():\n    return "asyncio"',
            ),
            (
                "or wait for a future in `__await__`:",
                "def __await__(self):\n    return self.future.__await__()",
            ),
        ],
    )


@recogniser(
    "RuntimeError",
    "h11._util.LocalProtocolError",
    says="^(?:Response content shorter than Content-Length|Too little data for declared Content-Length)",
    section="content-length",
    says_where=True,
)
def content_length(failure: Failure) -> Explanation | None:
    """A response was shorter than it said."""
    if failure.raised_by_hand:
        return None
    return Explanation(
        f"{failure.kind}: a response was shorter than its Content-Length",
        "The application declared the length of a response and sent less. It is the server that notices, so the traceback does not "
        "tell which response that was: its access log does.",
        "A middleware that changes a body and keeps its headers does that; so does a body that ends early, by an error or a client "
        "that left, or a status such as 204 with a body.",
        [
            (
                "let the response count, after the body has been changed:",
                (
                    'headers = {key: value for key, value in response.headers.items() if key != "content-length"}\n'
                    "return Response(body, response.status_code, headers)"
                ),
            ),
            ("or look for the error that ended it, above this one:", "greenroom explain server.log"),
        ],
    )
