"""coverage.py 7."""

from __future__ import annotations

from coverage import Coverage
from coverage.results import should_fail_under


def fails_under(percentage: float, threshold: float) -> bool:
    """Whether a total fails by coverage's own rule of rounding, with the project's precision."""
    precision = int(str(Coverage().get_option("report:precision")))
    return bool(should_fail_under(percentage, threshold, precision))
