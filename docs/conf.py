"""The site of this folder, as `make docs` builds it with Sphinx, MyST and Furo.

The pages are plain Markdown that reads the same on GitHub: what the site needs beyond that is done here.
"""

from __future__ import annotations

import fnmatch
import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from docutils import nodes
from sphinx import addnodes

if TYPE_CHECKING:
    from sphinx.application import Sphinx

DOCS = Path(__file__).parent
ROOT = DOCS.parent

METADATA = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project = METADATA["name"]
version = release = METADATA["version"]
author = "The greenroom authors"
copyright = f"2026 {author}"  # noqa: A001 - Sphinx's name for it

extensions = ["myst_parser"]
nitpicky = True

# The anchors are those that GitHub makes, so that a link to a heading works in both places.
myst_heading_anchors = 4
myst_links_external_new_tab = False

NAVIGATION = {
    "Write tests": [
        "testing-guide",
        "async-tests",
        "converting",
        "adopting",
        "migrations",
        "configuration",
        "extensions",
        "commands",
    ],
    "When something is wrong": ["faq", "explained-errors", "troubleshooting/*"],
    "Run them": ["docker", "ci", "github-actions", "offline-images"],
    "Understand it": [
        "how-it-works",
        "reference-service",
        "faults",
        "benchmarks",
        "compared",
        "repeated-queries",
        "decisions/README",
    ],
    "Project": ["contributing", "changelog"],
}
"""Captions and pages, in order; `*` stands for any name. A page that is not listed here fails the build."""

html_theme = "furo"
html_title = f"greenroom {release}"
html_logo = "images/logo.svg"
html_favicon = "images/logo.svg"
html_static_path = ["images/style.css"]
html_css_files = ["style.css"]
html_show_sphinx = False
html_copy_source = False
html_theme_options = {
    "navigation_with_keys": True,
    "light_css_variables": {"color-brand-primary": "#1a7f4b", "color-brand-content": "#1a7f4b"},
    "dark_css_variables": {"color-brand-primary": "#5fd39a", "color-brand-content": "#5fd39a"},
}
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"


def repository() -> str:
    """Return the URL below which this commit's files can be seen, or an empty string if it is not known.

    On GitHub Actions, the runner's own variables say it. Elsewhere, set DOCS_REPOSITORY.
    """
    if named := os.environ.get("DOCS_REPOSITORY"):
        return named.rstrip("/")
    given = [os.environ.get(f"GITHUB_{name}", "") for name in ("SERVER_URL", "REPOSITORY", "SHA")]
    return "{}/{}/blob/{}".format(*given) if all(given) else ""


def front_page() -> str:
    """Return the URL of the repository itself: the one in pyproject.toml's [project.urls], or the start of `repository()`."""
    return METADATA.get("urls", {}).get("Repository", "") or repository().partition("/blob/")[0]


def file_of_the_repository(target: str, page: str) -> str | None:
    """Return the path from the repository's root, if a link leads to a file or folder that is not a page of the site."""
    path = target.partition("#")[0]
    # The README is a part of the first page, and its links start from the root.
    for start in ((DOCS / page).parent, ROOT):
        found = (start / path).resolve()
        if path and found.exists() and found.is_relative_to(ROOT):
            return found.relative_to(ROOT).as_posix()
    return None


def link_files(app: Sphinx, document: nodes.document) -> None:
    """Make links to files of the repository, such as ../compose/test.yaml, point to the repository's own site.

    If its URL is not known, only the text stays. A link to a missing file still fails the build.
    """
    page = app.env.docname
    for node in [*document.findall(addnodes.download_reference), *document.findall(addnodes.pending_xref)]:
        if node.get("refdomain") == "doc" or node.get("reftype") != "myst":
            continue
        path = file_of_the_repository(node["reftarget"], page)
        if path is None:
            continue
        text = node.children[0]
        text["classes"] = []
        base = repository()
        if base:
            node.replace_self(nodes.reference("", "", text, refuri=f"{base}/{path}", internal=False))
        else:
            node.replace_self(text)


def contents(app: Sphinx, patterns: list[str], *options: str, links: tuple[str, ...] = ()) -> str:
    """Return a table of contents: the pages that match the patterns, and then the links to other sites."""
    pages = [name for pattern in patterns for name in sorted(fnmatch.filter(app.env.found_docs, pattern))]
    entries = [*(f"/{page}" for page in pages), *links]
    return "\n".join(["", "```{toctree}", *options, "", *entries, "```", ""])


def add_navigation(app: Sphinx, page: str, source: list[str]) -> None:
    """Add the site's table of contents to the first page, and the list of decisions to theirs."""
    if page == "index":
        for caption, patterns in NAVIGATION.items():
            links = (f"Repository <{front_page()}>",) if caption == "Project" and front_page() else ()
            source[0] += contents(app, patterns, ":hidden:", f":caption: {caption}", links=links)
    if page == "decisions/README":
        source[0] += contents(app, ["decisions/0*"])


def setup(app: Sphinx) -> None:
    """Connect the functions above; Sphinx calls this."""
    app.connect("source-read", add_navigation)
    app.connect("doctree-read", link_files)
