"""Optional packages that reports need."""

from __future__ import annotations

import importlib.util

from greenroom.errors import ReportsError


def require(package: str, module: str, purpose: str) -> None:
    """Check that an optional package is installed before any work is done.

    Args:
        package: Its name on the index.
        module: What is imported of it.
        purpose: What needs it, for the message.

    Raises:
        ReportsError: It is not installed.
    """
    if importlib.util.find_spec(module) is None:
        raise ReportsError(
            f"{purpose} needs the package {package}, which is not installed.",
            hint="pip install 'greenroom[ci]'",
        )
