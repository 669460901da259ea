"""The page of the documentation about errors, docs/faq.md. Here is a link to it, and a wheel has the page in its place."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from greenroom.diagnosis.explanation import PAGE
from greenroom.errors import GreenroomError

_PAGE: Final = Path(__file__).with_name("faq.md")
_HEADING: Final = re.compile(r"^## (.+)$", re.MULTILINE)


def section(name: str) -> str:
    """One section of the page, as Markdown.

    Args:
        name: The anchor of its heading, such as `lazy-load`.

    Raises:
        GreenroomError: There is none of that name, or no page.
    """
    try:
        page = _PAGE.read_text(encoding="utf-8")
    except OSError as error:
        raise GreenroomError(f"{_PAGE} cannot be read: {error.strerror}.") from None
    text = re.sub(r"^<!-- .* -->\n", "", page, flags=re.MULTILINE)
    starts = list(_HEADING.finditer(text))
    ends = [start.start() for start in starts[1:]] + [len(text)]
    sections = {
        anchor(start[1]): text[start.start() : end].strip() for start, end in zip(starts, ends, strict=True)
    }
    if name not in sections:
        raise GreenroomError(
            f"{PAGE} has no section {name!r}. Its sections: {', '.join(sections)}.",
            hint=f"greenroom explain --about {next(iter(sections))}",
        )
    return sections[name]


def anchor(heading: str) -> str:
    """The anchor of a heading, as GitHub and the site make it."""
    return re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-")
