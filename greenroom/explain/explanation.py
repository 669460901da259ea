"""What an explanation consists of, and how it reads."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from typing import Final

PAGE: Final = "docs/faq.md"
"""The page that quotes the errors. `greenroom explain --about` has it where there is no checkout of greenroom."""

WIDTH: Final = 100
"""Columns that the sentences of an explanation are broken at. Code is not broken."""


@dataclass(frozen=True)
class Explanation:
    """Why something failed, at the user's own line, and what helps.

    Attributes:
        title: What went wrong, in half a line.
        what: What happened, with the names of the user's own code.
        why: Why that fails here.
        fixes: What helps, the best first: a few words, and the code. Two are enough.
        link: The page and section of the documentation that quotes the error, such as `docs/faq.md#lazy-load`.
        where: The user's own line, `file:line`; empty if it is not known.
    """

    title: str
    what: str
    why: str
    fixes: list[tuple[str, str]] = field(default_factory=list)
    link: str = ""
    where: str = ""

    def render(self) -> str:
        """The explanation as plain text, several lines."""
        lines = [f"{self.where}: {self.title}" if self.where else self.title, ""]
        lines += [_broken(self.what), ""] if self.what else []
        lines += [_broken(self.why), ""] if self.why else []
        for number, (words, code) in enumerate(self.fixes, start=1):
            lines.append(_broken(f"fix {number}: {words}" if len(self.fixes) > 1 else f"fix: {words}"))
            if code:
                lines += [textwrap.indent(code.strip("\n"), "    ")]
            lines.append("")
        if self.link:
            lines.append(f"more: {more(self.link)}")
        return "\n".join(lines).rstrip()


def more(link: str) -> str:
    """A link with the command that shows the same, since another project has no page of greenroom's.

    Args:
        link: Such as `docs/faq.md#lazy-load`.
    """
    page, _, section = link.partition("#")
    return f"{link}, or: greenroom explain --about {section}" if page == PAGE else link


def _broken(text: str) -> str:
    """Sentences in lines of a fair width; lines that are there already stay."""
    return "\n".join(
        # A path or a name of a test is searched for and copied: it stays in one piece.
        textwrap.fill(line, WIDTH, break_long_words=False, break_on_hyphens=False) if line.strip() else line
        for line in text.split("\n")
    )
