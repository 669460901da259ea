"""The figures as tables and as a picture."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

Figures = Any
"""As in the JSON file."""


def resets(figures: Figures) -> str:
    """One table for each shape: the reset alone, and with the writing before it."""
    return "\n\n".join(f"**{shape}**\n\n{_resets(ways)}" for shape, ways in figures.items())


def _resets(ways: Figures) -> str:
    ours = ways["greenroom: rewind"]
    return _table(
        ("", "reset", "quartiles", "to greenroom's", "writing and reset", "to greenroom's"),
        [
            (
                name,
                _ms(way["part"]["median"]),
                _range(way["part"]),
                _ratio(way["part"], ours["part"]),
                _ms(way["whole"]["median"]),
                _ratio(way["whole"], ours["whole"]),
            )
            for name, way in ways.items()
        ],
    )


def baselines(figures: Figures) -> str:
    """The time of a rewind, by what wider fixtures have written."""
    parts = {name: one["part"] for name, one in figures.items()}
    return _spreads(parts, parts["no baseline"], "rewind", "to no baseline")


def addresses(figures: Figures) -> str:
    """The time of a query and of a connection, by address."""
    found = []
    for what, ways in figures.items():
        parts = {name: one["part"] for name, one in ways.items()}
        found.append(_spreads(parts, parts["Unix socket"], what, "to the socket's"))
    return "\n\n".join(found)


def api(figures: Figures) -> str:
    """The time of one API test."""
    return _spreads(figures, figures["greenroom"], "one test")


def asynchronous(figures: Figures) -> str:
    """The time of one asynchronous API test."""
    return _spreads(figures, figures["greenroom, async_tests"], "one test")


def requests(figures: Figures) -> str:
    """The time of one request."""
    parts = {name: one["part"] for name, one in figures.items()}
    return _spreads(parts, parts["greenroom"], "one request")


def reference(figures: Figures) -> str:
    """The reference suite's API tests."""
    ours = figures["greenroom"]["seconds"]
    return _table(
        ("", "whole run", "quartiles", "to greenroom's", "passed", "failed"),
        [
            (
                name,
                _s(one["seconds"]["median"]),
                f"{one['seconds']['low']:.1f}–{_s(one['seconds']['high'])}",
                _ratio(one["seconds"], ours),
                str(one["passed"]),
                str(one["failed"]),
            )
            for name, one in figures.items()
        ],
    )


def large(figures: Figures) -> str:
    """Time and memory of a long run."""
    return _table(
        (
            "", "whole run", "one test, first tenth", "last tenth",
            "pytest after 100 tests", "at the end", "Postgres before", "after",
        ),
        [
            (
                name,
                _s(one["seconds"]),
                _ms(one["first"]["median"]),
                _ms(one["last"]["median"]),
                *(_mb(size) for size in (*one["pytest"], *one["server"])),
            )
            for name, one in figures.items()
        ],
    )  # fmt: skip


def startup(figures: Figures) -> str:
    """From nothing to a first test."""
    rows = []
    for engine, steps in figures.items():
        if isinstance(steps, str):
            rows.append((engine, "not measured", steps, ""))
            continue
        rows += [
            (engine, step, _s(one["median"]), f"{one['low']:.1f}–{_s(one['high'])}")
            for step, one in steps.items()
        ]
    return _table(("engine", "", "time", "quartiles"), rows)


TABLES: Final[dict[str, Callable[[Figures], str]]] = {
    function.__name__: function
    for function in (resets, baselines, addresses, api, asynchronous, requests, reference, large, startup)
}
"""By the part's name."""


def write(docs: Path, figures: Figures) -> None:
    """Write the figures, put the tables between their marks into docs/benchmarks.md, and draw the picture.

    Args:
        docs: The folder of the documentation.
        figures: All parts.
    """
    (docs / "benchmarks.json").write_text(f"{json.dumps(figures, indent=1)}\n")
    page = docs / "benchmarks.md"
    page.write_text(filled(page.read_text(), figures))
    draw(docs / "images" / "benchmarks.svg", figures["resets"])


def filled(page: str, figures: Figures) -> str:
    """The page with its tables made from the figures."""
    machine = figures["machine"]
    pieces = {name: table(figures[name]) for name, table in TABLES.items()}
    pieces["machine"] = (
        f"{machine['cores']} cores ({machine['system']}), Python {machine['python']}, PostgreSQL {machine['postgres']}."
    )
    for name, piece in pieces.items():
        pattern = rf"(<!-- bench:{name} -->\n).*?(<!-- /bench -->)"
        page, found = re.subn(
            pattern,
            lambda match, piece=piece: f"{match[1]}\n{piece}\n\n{match[2]}",  # type: ignore[misc]
            page,
            flags=re.DOTALL,
        )
        if found != 1:
            raise ValueError(f"docs/benchmarks.md has {found} places for the table {name}, not one.")
    return page


def draw(path: Path, shapes: Figures) -> None:
    """The resets as bars, one group for each number of tables with three of them touched."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "greenroom"  # the same figures, the same file
    from matplotlib import pyplot as plt

    chosen = {shape: ways for shape, ways in shapes.items() if shape.endswith(" 3 touched")}
    names = list(next(iter(chosen.values())))
    figure, axes = plt.subplots(figsize=(9, 5.5))
    height = 0.8 / len(chosen)
    for index, (shape, ways) in enumerate(chosen.items()):
        places = [row + (index - (len(chosen) - 1) / 2) * height for row in range(len(names))]
        axes.barh(
            places,
            [ways[name]["part"]["median"] * 1000 for name in names],
            height=height,
            label=shape.partition(",")[0],
            color=plt.get_cmap("viridis")(0.15 + 0.65 * index / max(1, len(chosen) - 1)),
        )
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("milliseconds between two tests, median (logarithmic); three tables touched")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.legend(frameon=False, loc="upper right")
    figure.tight_layout()
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def _spreads(rows: Mapping[str, Figures], ours: Figures, title: str, ratio: str = "to greenroom's") -> str:
    return _table(
        ("", title, "quartiles", ratio),
        [(name, _ms(one["median"]), _range(one), _ratio(one, ours)) for name, one in rows.items()],
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in (head, ["---", *["---:"] * (len(head) - 1)], *rows)]
    return "\n".join(lines)


_GAP: Final = "\N{NO-BREAK SPACE}"
"""Between a number and its unit, which stay on one line."""


def _ms(seconds: float) -> str:
    return f"{_number(seconds)}{_GAP}ms"


def _range(spread: Figures) -> str:
    return f"{_number(spread['low'])}–{_number(spread['high'])}{_GAP}ms"


def _number(seconds: float) -> str:
    return f"{seconds * 1000:.3g}" if seconds < 0.1 else f"{seconds * 1000:.0f}"


def _s(seconds: float) -> str:
    return f"{seconds:.1f}{_GAP}s"


def _mb(size: int) -> str:
    return f"{size / 2**20:.0f}{_GAP}MB"


def _ratio(one: Figures, ours: Figures) -> str:
    ratio = one["median"] / ours["median"]
    return f"{ratio:.2g}{_GAP}×" if ratio < 10 else f"{ratio:.0f}{_GAP}×"
