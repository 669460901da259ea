"""A traceback as text, from a log, a CI job or an error tracker, with whatever stands around it."""

from __future__ import annotations

from dataclasses import dataclass

from greenroom.diagnosis.explanation import Explanation
from greenroom.explain.explaining import first_explained
from greenroom.explain.failure import Failure
from greenroom.explain.texts.lines import lines_of
from greenroom.explain.texts.mentions import mentioned
from greenroom.explain.texts.reader import Reader


def explain_text(text: str) -> list[Explanation]:
    """Why the errors of a text were raised, as far as it tells.

    Args:
        text: A traceback or several, and whatever stands around them.

    Returns:
        An explanation of each error that is known here, in the text's order, none of them twice: a test's report and its log, or
        a string and its object, may have the same one.
    """
    chains = failures_of(text)
    found = _told(chains)
    # What stands in the middle of a line is only looked for where nothing else is found.
    return [told.explanation for told in found or _told([[each] for each in mentioned(text, chains)])]


def _told(chains: list[list[Failure]]) -> list[_Told]:
    found: list[_Told] = []
    for failures in chains:
        explanation = first_explained(failures)
        if explanation is None:
            continue
        told = _Told(explanation, sum(bool(failure.users) for failure in failures))
        same = next((number for number, other in enumerate(found) if told.is_same(other)), None)
        if same is None:
            found.append(told)
        elif told.tells_more(found[same]):
            found[same] = told
    return found


def failures_of(text: str) -> list[list[Failure]]:
    """The errors of a text, each with those that it was raised from, the outermost first as in `chain`."""
    reader = Reader()
    for line in lines_of(text):
        if isinstance(line, str):
            reader.feed(line)
        else:
            reader.take(line)
    reader.end_of_chain()
    return reader.chains


@dataclass
class _Told:
    """An explanation, and of how many errors the user's line is known."""

    explanation: Explanation
    placed: int

    def is_same(self, other: _Told) -> bool:
        """Whether both are of one error: at one line, or without a line where the other says as much."""
        ours, theirs = self.explanation, other.explanation
        if ours == theirs:
            return True
        if ours.section != theirs.section:
            return False
        if not ours.where or not theirs.where:
            same_kind = ours.title.partition(":")[0] == theirs.title.partition(":")[0]
            return ours.title == theirs.title or (same_kind and self.is_bare is not other.is_bare)
        return f"/{ours.where}".endswith(f"/{theirs.where}") or f"/{theirs.where}".endswith(f"/{ours.where}")

    @property
    def is_bare(self) -> bool:
        """Whether the text has the error alone, without a frame of the user's."""
        return self.placed == 0

    def tells_more(self, other: _Told) -> bool:
        """Whether this one says more than the other of the same error."""
        if self.is_bare or other.is_bare:
            return other.is_bare and not self.is_bare
        return "an attribute" in other.explanation.title and "an attribute" not in self.explanation.title
