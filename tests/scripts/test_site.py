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


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[x](nowhere.md)", "nowhere.md"),
        ("[x](docker.md#nowhere)", "nowhere"),
        ("[x](#nowhere)", "nowhere"),
        ("[x](../compose/nowhere.yaml)", "nowhere.yaml"),
        ("![x](images/nowhere.svg)", "nowhere.svg"),
    ],
)
def test_what_leads_nowhere(site: Path, text: str, complaint: str) -> None:
    """A link to a page, an anchor, a file or a picture that is not there fails the build, which names it."""
    page = site / "docs/ci.md"
    before = page.read_text()
    page.write_text(f"{before}\n{text}\n")
    done = build(site)
    page.write_text(before)
    assert done.returncode == 1
    assert any("WARNING" in line and complaint in line for line in done.stdout.splitlines()), done.stdout


def test_page_that_nobody_finds(site: Path) -> None:
    """A page that is in no navigation fails the build."""
    page = site / "docs/lost.md"
    page.write_text("# Lost\n")
    done = build(site)
    page.unlink()
    assert done.returncode == 1
    assert "lost.md" in done.stdout
