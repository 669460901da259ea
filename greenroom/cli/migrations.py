"""The command `migrations`: test the migrations."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable

import click

from greenroom.cli.call import Call, examples
from greenroom.cli.on_server import on_server
from greenroom.errors import GreenroomError
from greenroom.migrations import checks
from greenroom.migrations.checks import Checks
from greenroom.migrations.results import Result, named
from greenroom.servers.base import Server


@click.command(
    epilog=examples(
        "greenroom migrations", "greenroom migrations 4f2a", "greenroom migrations data_survives --json"
    )
)
@click.argument("names", nargs=-1, metavar="[CHECK|REVISION]...")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@click.pass_obj
@on_server(starts=True)
def migrations(call: Call, server: Server, names: tuple[str, ...], as_json: bool) -> int:
    """Test the migrations: one head, up from nothing, models that agree; and each revision, with rows in the tables and back.

    Names select checks and revisions. The exit code is 1 if a check fails.
    """
    tested = Checks(call.config, server, call.console.say)
    try:
        results = []
        for check, revision in _selected(list(checks.names(call.config, tested.history)), names):
            result = tested.run(check, revision)
            results.append(result)
            if not as_json:
                _show(result)
    finally:
        tested.close()
        server.stop()
    if as_json:
        print(json.dumps([result.as_dict() for result in results], indent=2))
    else:
        counts = Counter(result.outcome for result in results)
        seconds = sum(result.seconds for result in results)
        call.console.say(
            f"{', '.join(f'{count} {outcome}' for outcome, count in counts.items())} in {seconds:.2f} s"
        )
    return int(any(result.outcome == "failed" for result in results))


def _selected(
    found: list[tuple[str, str | None]], names: tuple[str, ...]
) -> Iterable[tuple[str, str | None]]:
    known = {name for check, revision in found for name in (check, revision, named(check, revision))}
    for name in names:
        if name not in known:
            raise GreenroomError(
                f"There is no check and no revision {name!r}.",
                hint=f"the checks are: {', '.join((*checks.WHOLE, *checks.EACH))}",
            )
    return [each for each in found if not names or {*each, named(*each)} & set(names)]


def _show(result: Result) -> None:
    first, *more = result.said.splitlines() or [""]
    print(f"{result.outcome:7}  {result.name:30}  {result.seconds * 1000:5.0f} ms  {first}".rstrip())
    for line in more:
        print(f"{'':9}{line}")
    if result.hint:
        print(f"{'':9}→ {result.hint}")
    for note in (*result.notes, *map(str, result.locks)):
        print(f"{'':9}note: {note}")
