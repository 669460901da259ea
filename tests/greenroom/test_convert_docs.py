"""The page about converting shows what happens."""

from __future__ import annotations

from tests.greenroom.conftest import ROOT, Project
from tests.greenroom.pages import blocks_of


def test_example(project: Project) -> None:
    """The first example of docs/converting.md becomes the second one, whose tests pass."""
    before, after = [
        block.text for block in blocks_of(ROOT / "docs/converting.md") if block.language == "python"
    ]
    project.write("tests/test_it.py", before)
    done = project.greenroom("convert")
    assert done.returncode == 0, done.stderr
    assert (project.root / "tests/test_it.py").read_text() == after
    project.pytest("tests/test_it.py").assert_outcomes(passed=3)
