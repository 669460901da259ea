"""`python -m benchmarks`: run the benchmark, print its tables, and with --write put them into the documentation."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import psycopg

from benchmarks import (
    addresses,
    baselines,
    large,
    reference,
    requests,
    resets,
    server,
    startup,
    suites,
    tables,
)
from greenroom.output import Console
from greenroom.servers.embedded import Embedded
from greenroom.urls import conninfo


@dataclasses.dataclass(frozen=True)
class Effort:
    """How long to measure: for figures to publish, or to see that it works."""

    seconds: float = 4
    rounds: int = 5
    tests: int = 300
    large: int = 10_000


QUICK: Final = Effort(seconds=0.3, rounds=1, tests=50, large=300)


def _parts(embedded: Embedded, effort: Effort) -> dict[str, Callable[[], Any]]:
    """What there is to measure, by name."""
    admin = embedded.admin
    pid = int((Path(embedded.handle) / "data" / "postmaster.pid").read_text().split("\n", 1)[0])
    return {
        "resets": lambda: resets.measure(admin, seconds=effort.seconds),
        "baselines": lambda: baselines.measure(admin, seconds=effort.seconds),
        "addresses": lambda: addresses.measure(seconds=effort.seconds),
        "api": lambda: suites.measure(admin, tests=effort.tests, rounds=effort.rounds),
        "asynchronous": lambda: suites.measure(
            admin, tests=effort.tests, rounds=effort.rounds, chosen=suites.ASYNCHRONOUS
        ),
        "requests": lambda: requests.measure(seconds=effort.seconds),
        "reference": lambda: reference.measure(admin, rounds=effort.rounds),
        "large": lambda: large.measure(admin, pid, tests=effort.large),
        "startup": lambda: startup.measure(rounds=effort.rounds),
    }


def main() -> int:
    """Measure, print, write. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="greenroom beside what else there is"
    )
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"only these, of: {', '.join(tables.TABLES)}"
    )
    parser.add_argument(
        "--quick", action="store_true", help="see that it works: a minute, and figures of no use"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    parser.add_argument(
        "--write", action="store_true", help="write docs/benchmarks.md and what belongs to it"
    )
    options = parser.parse_args()
    if unknown := set(options.parts) - set(tables.TABLES):
        parser.error(
            f"there is no part {', '.join(sorted(unknown))}; the parts are {', '.join(tables.TABLES)}"
        )
    if options.write and (options.parts or options.quick):
        parser.error("--write takes the whole benchmark, at full length")

    console = Console()
    figures: dict[str, Any] = {}
    with server.running() as embedded:
        figures["machine"] = _machine(embedded)
        for name, part in _parts(embedded, QUICK if options.quick else Effort()).items():
            if not options.parts or name in options.parts:
                console.say(f"measuring: {name} …")
                # As it is read back from the file, so that a table is the same from both.
                figures[name] = json.loads(json.dumps(part(), default=dataclasses.asdict))
                print(f"\n{tables.TABLES[name](figures[name])}\n", flush=True)
    if options.json:
        options.json.write_text(f"{json.dumps(figures, indent=1)}\n")
    if options.write:
        tables.write(suites.ROOT / "docs", figures)
    return 0


def _machine(embedded: Embedded) -> dict[str, Any]:
    """What it was measured on."""
    with psycopg.connect(conninfo(embedded.admin)) as connection:
        version = connection.info.parameter_status("server_version")
    return {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "postgres": version,
        "system": f"{platform.system()} {platform.machine()}",
    }


if __name__ == "__main__":
    sys.exit(main())
