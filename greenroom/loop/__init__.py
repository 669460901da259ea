"""The one event loop of a run.

The application, its engine, its pool and its lifespan live on it, and so does each `TestClient`. The tests stay in the
main thread and hand it work.
"""

from greenroom.loop.thread import Loop

__all__ = ["Loop"]
