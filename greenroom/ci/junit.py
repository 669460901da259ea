"""JUnit's XML, which pytest writes for CI services."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from greenroom.errors import ReportsError

FILE: Final = "junit.xml"

OPTIONS: Final = ("-o", "junit_family=xunit1")
"""The family that names each test's file and line."""


def merge(folders: Iterable[Path], target: Path) -> None:
    """Write one junit.xml to the folder `target`, from those of `folders`.

    Raises:
        ReportsError: One is missing or broken.
    """
    import junitparser  # an optional package

    merged = junitparser.JUnitXml()
    for file in (folder / FILE for folder in folders):
        try:
            merged += junitparser.JUnitXml.fromfile(str(file))
        # Both libraries that junitparser may read XML with have errors of their own, which are the second.
        except (OSError, SyntaxError, junitparser.JUnitXmlError) as error:
            raise ReportsError(f"{file} cannot be read: {str(error).rstrip('.')}.") from None
    merged.write(str(target / FILE))
