"""The command `explain`: why the errors in a pasted traceback were raised."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from greenroom.cli.call import Call, examples
from greenroom.diagnosis.explanation import Explanation
from greenroom.errors import GreenroomError
from greenroom.explain.page import section
from greenroom.explain.pasted import explain_text


@click.command(
    epilog=examples(
        "greenroom explain ci.log",
        "docker logs app | greenroom explain",
        "greenroom explain --about lazy-load",
    )
)
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--about", metavar="SECTION", help="Print the documentation of an error, such as lazy-load.")
@click.pass_obj
def explain(call: Call, file: Path | None, about: str | None) -> int:
    """Explain the errors in a pasted traceback, from CI or production.

    Reads FILE, or stdin by default.

    The exit code is 1 if the text contains no known error.
    """
    if about is not None:
        print(section(about))
        return 0
    if file is None and sys.stdin.isatty():
        call.console.say("paste a traceback, then Ctrl-D")
    explanations = explain_text(sys.stdin.read() if file is None else _text(file))
    if not explanations:
        call.console.error(
            "This text contains no error that greenroom knows.",
            "paste the whole traceback, including its last lines",
        )
        return 1
    print("\n\n".join(_texts(explanations)))
    return 0


def _texts(explanations: list[Explanation]) -> list[str]:
    """The explanations, numbered if there are several. What may follow from one before it is not explained as if it were the cause."""
    if len(explanations) == 1:
        return [explanations[0].render()]
    texts, cause = [], 0
    for number, explanation in enumerate(explanations, start=1):
        head = f"error {number} of {len(explanations)}"
        if explanation.follows and cause:
            about = f"greenroom explain --about {explanation.section}"
            said = f"It may follow from error {cause}: mend that one first. About this one: {about}"
            texts.append(f"{head}\n\n{explanation.headline}\n\n{said}")
        else:
            cause = number
            texts.append(f"{head}\n\n{explanation.render()}")
    return texts


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise GreenroomError(f"{file} cannot be read: {error.strerror}.") from None
