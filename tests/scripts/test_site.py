"""scripts/docs: the site is built, and a link that leads nowhere fails."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.scripts.conftest import HERE


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of all that the site is made from, whose venv for it is made by the first build."""
    root = tmp_path_factory.mktemp("site") / "check out"
    files = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=HERE, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for path in filter(None, files.split("\0")):
        if (HERE / path).is_file():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(HERE / path, root / path)
    (root / ".venv").symlink_to(sys.prefix)
    return root


def build(root: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Build the site."""
    around = {name: value for name, value in os.environ.items() if not name.startswith(("GITHUB_", "DOCS_"))}
    return subprocess.run(
        [root / "scripts/docs"],
        env={**around, **variables}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip


def test_site(site: Path) -> None:
    """Every page is built; links to files lead to the repository where it is known, and nothing is fetched from elsewhere."""
    done = build(site, DOCS_REPOSITORY="https://example.org/greenroom/blob/main")
    assert done.returncode == 0, done.stdout

    pages = {path.relative_to(site / "docs").with_suffix(".html") for path in site.glob("docs/**/*.md")}
    built = {
        path.relative_to(site / "reports/docs"): path.read_text()
        for path in site.glob("reports/docs/**/*.html")
    }
    assert pages <= built.keys()
    assert 'href="https://example.org/greenroom/blob/main/compose/test.yaml"' in built[Path("docker.html")]
    assert 'href="https://example.org/greenroom/blob/main/app"' in built[Path("index.html")]
    for page, text in built.items():
        for loaded in ('<script src="http', '<link rel="stylesheet" type="text/css" href="http', "@import"):
            assert loaded not in text, page


def test_repository_that_nobody_knows(site: Path) -> None:
    """Where nobody says where the repository is, no link to its files is made up."""
    assert build(site).returncode == 0
    page = (site / "reports/docs/docker.html").read_text()
    assert "compose/test.yaml" in page
    assert 'test.yaml"' not in page


def test_on_github(site: Path) -> None:
    """GitHub Actions says where the repository is by itself."""
    known = {
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_REPOSITORY": "o/greenroom",
        "GITHUB_SHA": "01ab",
    }
    done = build(site, **known)
    assert done.returncode == 0, done.stdout
    page = (site / "reports/docs/docker.html").read_text()
    assert 'href="https://github.com/o/greenroom/blob/01ab/compose/test.yaml"' in page


def test_what_leads_nowhere(site: Path) -> None:
    """A link to a page, an anchor, a file or a picture that is not there fails the build, and so does a page in no navigation."""
    page, lost = site / "docs/ci.md", site / "docs/lost.md"
    before = page.read_text()
    links = {
        "[x](no-page.md)": "no-page.md",
        "[x](docker.md#no-anchor)": "no-anchor",
        "[x](#no-heading)": "no-heading",
        "[x](../compose/no-file.yaml)": "no-file.yaml",
        "![x](images/no-picture.svg)": "no-picture.svg",
    }
    page.write_text("\n\n".join([before, *links]))
    lost.write_text("# Lost\n")
    done = build(site)
    page.write_text(before)
    lost.unlink()
    assert done.returncode == 1
    warnings = [line for line in done.stdout.splitlines() if "WARNING" in line]
    for complaint in (*links.values(), "lost.md"):
        assert any(complaint in line for line in warnings), done.stdout
