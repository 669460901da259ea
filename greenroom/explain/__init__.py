"""Explanations of the errors that asynchronous SQLAlchemy, its drivers and event loops are known for.

`explain(exception)` works on a live exception: its type, its chain and the frames of its traceback, so that it can name the
model, the attribute and the user's own line. Nothing here is imported before something has failed.
"""

from greenroom.diagnosis.explanation import Explanation
from greenroom.explain.explaining import (
    LOADS,
    explain,
    explain_caught,
    report_caught,
    report_swallowed,
    said_briefly,
)

__all__ = [
    "LOADS", "Explanation", "explain", "explain_caught", "report_caught", "report_swallowed", "said_briefly",
]  # fmt: skip
