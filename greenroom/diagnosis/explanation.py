"""What an explanation consists of, and how it reads."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Final

PAGE: Final = "docs/faq.md"
"""The page that quotes the errors. `greenroom explain --about` has it where there is no checkout of greenroom."""

WIDTH: Final = 100
"""Columns that the sentences of an explanation are broken at. Code is not broken."""

Fix = tuple[str, str]
"""What helps: a few words, and the code."""


@dataclass(frozen=True)
class Explanation:
    """Why something failed, at the user's own line, and what helps.

    Attributes:
        title: What went wrong, in half a line.
        what: What happened, with the names of the user's own code.
        why: Why that fails here.
        fixes: What helps, the best first. Two are enough.
        section: The section of the page that tells more, such as `lazy-load`.
        page: That page.
        where: The user's own line, `file:line`; empty if it is not known.
        evidence: Lines of code, and who was where; they are not broken.
        follows: It follows, as a rule, from another error before it.
        earlier: The exception that this one follows from, to be explained in its turn.
    """

    title: str
    what: str
    why: str
    fixes: list[Fix]
    section: str = ""
    page: str = PAGE
    where: str = ""
    evidence: str = ""
    follows: bool = False
    earlier: BaseException | None = None

    @property
    def headline(self) -> str:
        """Where, and what, in a line."""
        return f"{self.where}: {self.title}" if self.where else self.title

    def render(self) -> str:
        """The explanation as plain text, several lines."""
        paragraphs = [
            self.headline,
            _broken(self.what),
            self.evidence,
            _broken(self.why),
        ]
        for number, (words, code) in enumerate(self.fixes, start=1):
            head = _broken(f"fix {number}: {words}" if len(self.fixes) > 1 else f"fix: {words}")
            paragraphs.append("\n".join([head, textwrap.indent(code, "    ")]))
        if self.section:
            # Another project has no page of greenroom's.
            command = f", or: greenroom explain --about {self.section}" if self.page == PAGE else ""
            paragraphs.append(f"more: {self.page}#{self.section}{command}")
        return "\n\n".join(filter(None, paragraphs))


def _broken(text: str) -> str:
    """Sentences in lines of a fair width; lines that are there already stay."""
    return "\n".join(
        # A path or a name of a test is searched for and copied: it stays in one piece.
        textwrap.fill(line, WIDTH, break_long_words=False, break_on_hyphens=False) if line.strip() else line
        for line in text.split("\n")
    )
