"""scripts/docs: the site is built, and a link that leads nowhere fails."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.scripts.conftest import HERE

# On one worker: each would install Sphinx for itself.
pytestmark = pytest.mark.xdist_group("site")


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


AROUND = {name: value for name, value in os.environ.items() if not name.startswith(("GITHUB_", "DOCS_"))}


def environment(root: Path) -> None:
    """See to it that the venv with Sphinx is there, as the build does first."""
    subprocess.run([root / "scripts/bootstrap", "docs"], env=AROUND, check=True)


def build(root: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Build the site."""
    return subprocess.run(
        [root / "scripts/docs"],
        env={**AROUND, **variables}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip


def test_site(site: Path) -> None:
    """Every page is built, with the version and a link to the repository; links to files lead there, and nothing is fetched from elsewhere."""
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
    version = tomllib.loads((site / "pyproject.toml").read_text())["project"]["version"]
    for page, text in built.items():
        assert f"greenroom {version}" in text, page
        assert 'href="https://example.org/greenroom"' in text, page
        for loaded in ('<script src="http', '<link rel="stylesheet" type="text/css" href="http', "@import"):
            assert loaded not in text, page


@pytest.mark.parametrize(
    ("variables", "repository"),
    [
        (
            {"DOCS_REPOSITORY": "https://example.org/o/greenroom/blob/main/"},
            "https://example.org/o/greenroom/blob/main",
        ),
        (
            {
                "GITHUB_SERVER_URL": "https://github.com",
                "GITHUB_REPOSITORY": "o/greenroom",
                "GITHUB_SHA": "01ab",
            },
            "https://github.com/o/greenroom/blob/01ab",
        ),
        ({}, ""),
    ],
    ids=["named", "on GitHub", "nobody knows"],
)
def test_repository(site: Path, variables: dict[str, str], repository: str) -> None:
    """Where the repository is, a variable says, or GitHub Actions by itself."""
    environment(site)
    code = "import runpy; print(runpy.run_path('docs/conf.py')['repository']())"
    done = subprocess.run(
        [site / ".greenroom/docs/bin/python", "-c", code],
        cwd=site, env={**AROUND, **variables}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == f"{repository}\n"


def test_what_leads_nowhere(site: Path) -> None:
    """A link to a page, an anchor, a file or a picture that is not there fails the build, and so does a page in no navigation.

    Where nobody says where the repository is, no link to its files is made up.
    """
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
    built = (site / "reports/docs/docker.html").read_text()
    assert "compose/test.yaml" in built
    assert 'test.yaml"' not in built
