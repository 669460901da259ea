"""Coverage: pytest-cov's options, the result, and the merged data of shards."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple
from xml.etree import ElementTree as ET

from greenroom.errors import ReportsError

DATA: Final = "coverage.data"
XML: Final = "coverage.xml"
HTML: Final = "coverage"


class Total(NamedTuple):
    """The result of measuring coverage.

    Attributes:
        percentage: Of lines and, where they are measured, branches.
        fail_under: What it has to reach, if anything.
    """

    percentage: float
    fail_under: float | None

    @property
    def enough(self) -> bool:
        """Whether the coverage reaches the threshold, by coverage's own rule of rounding."""
        from greenroom.private.coverage import fails_under

        return not fails_under(self.percentage, self.fail_under or 0)

    def __str__(self) -> str:
        # Never rounded up to what was not reached.
        shown = f"{math.floor(self.percentage * 100) / 100:.2f} %"
        return f"{shown}, at least {self.fail_under:g} % required" if self.fail_under else shown


def options(folder: Path, *, shard: bool) -> list[str]:
    """Return the options that make pytest-cov write to `folder`, if the run measures coverage.

    A shard covers a part only: the table and the HTML of that help nobody, and the threshold is for all of them.
    """
    xml = f"--cov-report=xml:{folder / XML}"
    if shard:
        return [xml, "--cov-fail-under=0"]
    return [xml, f"--cov-report=html:{folder / HTML}", "--cov-report=term"]


def read(folder: Path, fail_under: float | None) -> Total | None:
    """Return the result in a folder's coverage.xml, or None if there is no such file."""
    try:
        # Coverage wrote it a moment ago.
        found = ET.parse(folder / XML).getroot().attrib  # noqa: S314
    except (OSError, ET.ParseError):
        return None
    covered, valid = (
        int(found[f"lines-{what}"]) + int(found[f"branches-{what}"]) for what in ("covered", "valid")
    )
    return Total(100 * covered / valid if valid else 100.0, fail_under)


def merge(files: Mapping[str, Path], target: Path) -> Total:
    """Combine data files, write the reports of all to the folder `target`, and print the table.

    The settings are coverage's own, of the project in the current folder.

    Args:
        files: The data files, by what they are of.
        target: Where the data, the XML and the HTML go.

    Raises:
        ReportsError: A file is broken, or the sources that it is about are not here.
    """
    from coverage import Coverage, CoverageData
    from coverage.exceptions import CoverageException, NoSource

    for name, file in files.items():
        try:
            # Coverage itself would pass over what it cannot read.
            CoverageData(str(file)).read()
        except CoverageException as error:
            raise ReportsError(f"The coverage data of {name} cannot be read: {error}.") from None
    try:
        merged = Coverage(data_file=str(target / DATA))
        merged.combine([str(file) for file in files.values()], strict=True, keep=True)
        merged.save()
        merged.xml_report(outfile=str(target / XML))
        merged.html_report(directory=str(target / HTML))
        percentage = merged.report()
    except NoSource as error:
        raise ReportsError(
            f"The coverage data belongs to sources that are not here: {error}",
            hint="set relative_files = true in [tool.coverage.run], so that the shards may run in different folders",
        ) from None
    except CoverageException as error:
        raise ReportsError(f"The coverage data cannot be merged: {error}.") from None
    return Total(percentage, float(str(merged.get_option("report:fail_under"))) or None)
