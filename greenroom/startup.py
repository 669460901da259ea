"""Start the application up once, and shut it down: `python -m greenroom.startup ROOT`.

A process of its own, for `schema_at_startup` and for `greenroom doctor`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from greenroom.application import Application
from greenroom.config import find
from greenroom.errors import GreenroomError
from greenroom.loop import Loop
from greenroom.places import explained


def main() -> None:
    """Start it up and shut it down, with the database that the environment names."""
    config = find(Path(sys.argv[1]))
    sys.path[:0] = config.import_paths
    loop = Loop(config.timeout)
    application = Application(config, loop)
    try:
        application.start()
        application.stop()
    except Exception as error:  # noqa: BLE001 - whatever it raises is shown to the user
        sys.exit(str(error) if isinstance(error, GreenroomError) else explained(error, config.root))
    finally:
        loop.close()


if __name__ == "__main__":
    main()
