"""The benchmark's page says what was measured; `.ci/run` runs the benchmark itself, quickly."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks import tables

DOCS = Path(__file__).parents[2] / "docs"


def test_page_is_made_from_the_figures() -> None:
    """Each table in docs/benchmarks.md is what docs/benchmarks.json gives: none is edited by hand."""
    page = (DOCS / "benchmarks.md").read_text()
    figures = json.loads((DOCS / "benchmarks.json").read_text())
    assert tables.filled(page, figures) == page
