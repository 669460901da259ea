"""`python -m tests.lab`: run the programs in every environment, and compare with what is recorded."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from typing import Any, Final

from greenroom.output import Console
from tests.lab import page
from tests.lab.run import (
    GREENROOM,
    NEEDS,
    approaches,
    environments,
    note_alone,
    programs,
    run,
    run_greenroom,
    run_needs,
    server,
    versions,
)
from tests.lab.ways import HERE

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
    if options.write and options.newest:
        parser.error("--write takes the locked versions: the page's tables are to come out again elsewhere")

    known = [*(program.name for program in programs()), GREENROOM.name, NEEDS.stem]
    if unknown := [name for name in options.names if name not in known]:
        parser.error(f"there is no program {unknown[0]}; there are {', '.join(known)}")

    recorded = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"programs": {}, "versions": {}}
    found = _run(options.names, newest=options.newest)
    for title, said in found["versions"].items():
        print(f"{title}: {said}")
    told = [*changes(recorded, found), *([] if options.newest else _versions(recorded, found))]
    for change in told:
        print(f"\n{change}")
    print()
    print(f"outcomes: {_count(found)}; not as recorded: {len(told) or 'none'}")
    if options.write and options.names and [*_versions(recorded, found)]:
        parser.error(
            "what is recorded is of other versions, as above, and has to be written as a whole: without names"
        )
    if options.write:
        whole = _whole(recorded, found)
        RESULTS.write_text(f"{json.dumps(whole, indent=1, ensure_ascii=False)}\n")
        page.write(whole)
    return 1 if told and options.check else 0


def _run(names: list[str], *, newest: bool) -> dict[str, Any]:
    """All outcomes, in the form of the results' file."""
    say = Console().say
    where = environments(newest=newest)
    found: dict[str, Any] = {
        "environments": {one.name: one.title for one in where},
        # The others are run with today's.
        "versions": {one.title: versions(one) for one in where if one.name in {"story", "today"}},
        "programs": {},
    }
    with server() as admin:
        for program in programs():
            if not names or program.name in names:
                say(f"{program.name}: {program.title} …")
                outcomes = {
                    one.name: run(program, one, admin)
                    for one in where
                    if program.name.startswith(one.programs)
                }
                note_alone(program, where[1], admin, outcomes)
                found["programs"][program.name] = outcomes
        if not names or GREENROOM.name in names:
            say("the same services under greenroom …")
            found["greenroom"] = run_greenroom(admin)
        if not names or NEEDS.stem in names:
            say("what tests need …")
            found["needs"] = {one.name: run_needs(one, where[1], admin) for one in approaches()}
    return found


def changes(recorded: dict[str, Any], found: dict[str, Any]) -> Iterator[str]:
    """What is not as recorded, a text for each.

    Where chance decides how a program fails, that it fails is all that can be compared: a way to fail that nobody has
    seen before may have been there all the time.
    """
    for name, outcomes in found["programs"].items():
        for environment, now in outcomes.items():
            before = recorded["programs"].get(name, {}).get(environment, [])
            if name in _by_chance():
                known = {page.passed(one) for one in before}
                new = [one for one in now if page.passed(one) not in known]
            else:
                new = [one for one in now if one not in before]
            if new:
                yield _change(f"{name}, {found['environments'][environment]}", before, new)
    for approach in approaches() if "needs" in found else ():
        before = recorded.get("needs", {}).get(approach.name, [])
        if new := [one for one in found["needs"][approach.name] if one not in before]:
            yield _change(f"what tests need, {approach.title}", before, new)
    before = recorded.get("greenroom", [])
    if new := [one for one in found.get("greenroom", []) if one not in before]:
        yield _change("the same services under greenroom", before, new)


def _by_chance() -> set[str]:
    return {program.name for program in programs() if program.runs > 1}


def _whole(recorded: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """What is to be recorded: what was found, and of what was recorded with the same versions the rest.

    That is what was not run now, and what chance brought in the runs before.
    """
    if [*_versions(recorded, found)]:
        recorded = {"programs": {}}
    merged = {**recorded["programs"], **found["programs"]}
    for name in _by_chance() & set(recorded["programs"]) & set(found["programs"]):
        for environment, before in recorded["programs"][name].items():
            now = found["programs"][name][environment]
            merged[name][environment] = sorted(
                [*now, *(one for one in before if one not in now)], key=json.dumps
            )
    return {
        **recorded,
        **found,
        "programs": {one.name: merged[one.name] for one in programs() if one.name in merged},
    }


def _change(what: str, before: list[Any], now: list[Any]) -> str:
    """The lines that are not in the other, as in a diff; all, where only what came out together has changed."""
    gone, come = ([line for one in some for line in page.lines(one)] for some in (before, now))
    said = [f"- {line}" for line in gone if line not in come] + [
        f"+ {line}" for line in come if line not in gone
    ]
    return "\n".join([f"{what}:", *(said or [f"- {line}" for line in gone] + [f"+ {line}" for line in come])])


def _versions(recorded: dict[str, Any], found: dict[str, Any]) -> Iterator[str]:
    """Locked versions that are not those of the record. Which Python runs them is each machine's affair."""
    for title, said in found["versions"].items():
        before, now = (
            set(versions.split(", ")[1:]) for versions in (recorded["versions"].get(title, ""), said)
        )
        if before != now:
            was, are = (", ".join(sorted(some)) or "nothing" for some in (before - now, now - before))
            yield f"{title}: the page says {was}, and locked is {are}"


def _count(found: dict[str, Any]) -> int:
    programs = sum(len(outcomes) for outcomes in found["programs"].values())
    return programs + ("greenroom" in found) + len(found.get("needs", ()))


if __name__ == "__main__":
    sys.exit(main())
