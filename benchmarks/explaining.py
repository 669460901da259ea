"""`python -m benchmarks.explaining`: what it costs a passing suite that greenroom would explain its failures.

The same suite with and without the plugin that notes what the application catches, in pairs: one after the other, the first of
them a different one each time. What is compared is each pair's difference, so that a slow minute of the machine hits both.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics

from benchmarks import server, suites
from greenroom.servers.embedded import Embedded

WITHOUT = dataclasses.replace(
    suites.GREENROOM,
    name="without explaining",
    plugins=(*suites.GREENROOM.plugins, "no:greenroom-explaining"),
)


def measure(embedded: Embedded, *, pairs: int, tests: int) -> list[tuple[float, float]]:
    """The median seconds of a test in each pair of runs: with explaining, and without.

    Args:
        embedded: A server.
        pairs: How many pairs.
        tests: Tests of each run.
    """
    found = []
    for number in range(pairs):
        order = [suites.GREENROOM, WITHOUT] if number % 2 else [WITHOUT, suites.GREENROOM]
        took = {
            suite.name: statistics.median(suites.run(suite, embedded.admin, tests=tests).test)
            for suite in order
        }
        found.append((took[suites.GREENROOM.name], took[WITHOUT.name]))
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=10, help="pairs of runs (default: 10)")
    parser.add_argument("--tests", type=int, default=500, help="tests of each run (default: 500)")
    options = parser.parse_args()
    with server.running() as embedded:
        found = measure(embedded, pairs=options.pairs, tests=options.tests)
    differences = sorted((ours - without) * 1e6 for ours, without in found)
    print(f"{options.pairs} pairs of {options.tests} tests, the median of a test:")
    print(f"  with explaining     {statistics.median(ours for ours, _ in found) * 1e6:7.0f} µs")
    print(f"  without             {statistics.median(without for _, without in found) * 1e6:7.0f} µs")
    print(
        f"  difference of pairs {statistics.median(differences):+7.0f} µs "
        f"(from {differences[0]:+.0f} to {differences[-1]:+.0f} µs)"
    )


if __name__ == "__main__":
    main()
