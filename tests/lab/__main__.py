"""`python -m tests.lab`: run the programs in every environment, and compare with what is recorded."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from typing import Any, Final

from greenroom.output import Console
from tests.lab import page
from tests.lab.run import GREENROOM, HERE, environments, programs, run, run_greenroom, server, versions

RESULTS: Final = HERE / "results.json"


def main() -> int:
    """Run, compare, report. Returns the exit code: 1 if something is not as recorded, with --check."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab")
    parser.add_argument("names", nargs="*", metavar="PROGRAM", help="only these")
    parser.add_argument("--check", action="store_true", help="fail if anything is not as recorded")
    parser.add_argument(
        "--write", action="store_true", help="record what came out, and write the page's tables"
    )
    parser.add_argument(
        "--newest", action="store_true", help="the newest versions in place of the locked ones"
    )
    options = parser.parse_args()
    if options.write and (options.names or options.newest):
        parser.error("--write takes all programs, and the locked versions")

    recorded = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"programs": {}}
    found = _run(options.names, newest=options.newest)
    changes = list(_changes(recorded, found))
    for change in changes:
        print(change)
    print(f"{len(changes)} of {_count(found)} outcomes are not as recorded")
    if options.write:
        RESULTS.write_text(f"{json.dumps(found, indent=1, ensure_ascii=False)}\n")
        page.write(found)
    return 1 if changes and options.check else 0


def _run(names: list[str], *, newest: bool) -> dict[str, Any]:
    """All outcomes, in the form of the results' file."""
    say = Console().say
    where = environments(newest=newest)
    found: dict[str, Any] = {
        "environments": {one.name: one.title for one in where},
        "versions": {one.title: versions(one) for one in where if one.name != "psycopg"},
        "programs": {},
    }
    with server() as admin:
        for program in programs():
            if not names or program.name in names:
                say(f"{program.name}: {program.title} …")
                found["programs"][program.name] = {one.name: run(program, one, admin) for one in where}
        if not names or GREENROOM.name in names:
            say("the same services under greenroom …")
            found["greenroom"] = run_greenroom(admin)
    return found


def _changes(recorded: dict[str, Any], found: dict[str, Any]) -> Iterator[str]:
    """What is not as recorded, a text for each. Where chance decides, what came out must be among what is recorded."""
    for name, outcomes in found["programs"].items():
        for environment, now in outcomes.items():
            before = recorded["programs"].get(name, {}).get(environment, [])
            if (new := [one for one in now if one not in before]) or not now:
                yield f"{name}, {environment}:\n  recorded: {json.dumps(before, ensure_ascii=False)}\n  now: {json.dumps(new, ensure_ascii=False)}"
    if "greenroom" in found and found["greenroom"] != recorded.get("greenroom"):
        yield f"greenroom:\n  recorded: {json.dumps(recorded.get('greenroom'))}\n  now: {json.dumps(found['greenroom'])}"


def _count(found: dict[str, Any]) -> int:
    return sum(len(outcomes) for outcomes in found["programs"].values()) + ("greenroom" in found)


if __name__ == "__main__":
    sys.exit(main())
