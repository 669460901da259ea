"""The site of this folder, as `make docs` builds it with Sphinx, MyST and Furo.

The pages are plain Markdown that reads the same on GitHub: what the site needs beyond that is done here.
"""

from __future__ import annotations

import fnmatch
import os
from pathlib import Path
from typing import TYPE_CHECKING

from docutils import nodes
from sphinx import addnodes

if TYPE_CHECKING:
    from sphinx.application import Sphinx

DOCS = Path(__file__).parent
ROOT = DOCS.parent

project = "greenroom"
author = "The greenroom authors"
copyright = f"2026 {author}"  # noqa: A001 - Sphinx's name for it

extensions = ["myst_parser"]
nitpicky = True

# As GitHub makes them, so that a link to a heading holds in both places.
myst_heading_anchors = 4
myst_links_external_new_tab = False

NAVIGATION = {
    "Write tests": ["testing-guide", "configuration"],
    "When something is wrong": ["faq", "explained-errors", "troubleshooting/*"],
    "Run them": ["docker", "ci", "github-actions", "offline-images"],
    "Understand it": ["how-it-works", "benchmarks", "decisions/README"],
}
"""Captions and pages, in order; `*` stands for more than one. A page that is named nowhere is an error of the build."""

html_theme = "furo"
html_title = "greenroom"
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
    """Where this commit's files can be looked at; empty where the site is built and nobody says so.

    GitHub Actions says it by itself, and DOCS_REPOSITORY elsewhere.
    """
    if named := os.environ.get("DOCS_REPOSITORY"):
        return named.rstrip("/")
    given = [os.environ.get(f"GITHUB_{name}", "") for name in ("SERVER_URL", "REPOSITORY", "SHA")]
    return "{}/{}/blob/{}".format(*given) if all(given) else ""


def file_of_the_repository(target: str, page: str) -> str | None:
    """The path from the repository's root, if a link leads to a file or folder of it that is no page."""
    path = target.partition("#")[0]
    # The README is a part of the first page, and its links start from the root.
    for start in ((DOCS / page).parent, ROOT):
        found = (start / path).resolve()
        if path and found.exists() and found.is_relative_to(ROOT):
            return found.relative_to(ROOT).as_posix()
    return None


def link_files(app: Sphinx, document: nodes.document) -> None:
    """Lead links to files of the repository, such as ../compose/test.yaml, to where it can be looked at.

    Where no one knows that place, their text stays. A file that is not there stays an error of the build.
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


def contents(app: Sphinx, patterns: list[str], *options: str) -> str:
    """A table of contents of the pages that there are."""
    pages = [name for pattern in patterns for name in sorted(fnmatch.filter(app.env.found_docs, pattern))]
    return "\n".join(["", "```{toctree}", *options, "", *(f"/{page}" for page in pages), "```", ""])


def add_navigation(app: Sphinx, page: str, source: list[str]) -> None:
    """Give the first page the site's table of contents, and that of the decisions theirs."""
    if page == "index":
        for caption, patterns in NAVIGATION.items():
            source[0] += contents(app, patterns, ":hidden:", f":caption: {caption}")
    if page == "decisions/README":
        source[0] += contents(app, ["decisions/0*"])


def setup(app: Sphinx) -> None:
    """Sphinx calls this."""
    app.connect("source-read", add_navigation)
    app.connect("doctree-read", link_files)
