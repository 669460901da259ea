"""`make faults`: provoke all faults, and say which held. The exit code is 1 if one did not.

python -m tests.faults [WORD…]    only those whose kind or name has one of the words
"""

from __future__ import annotations

import os
import signal
import sys
import time

from tests.faults import places, servers, signals, stacks
from tests.faults.battery import Result, run, table


def main() -> int:
    """Run them."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    words = sys.argv[1:]
    every = [*signals.faults(), *places.faults(), *servers.faults(), *stacks.faults()]
    chosen = [
        each for each in every if not words or any(word in f"{each.kind}: {each.name}" for word in words)
    ]
    if not chosen:
        print(f"no fault has one of these words: {' '.join(words)}", file=sys.stderr)
        return 2
    began = time.monotonic()
    results: list[Result] = []
    for each in run(chosen, workers=min(4, 2 * (os.cpu_count() or 1))):
        results.append(each)
        outcome = "held" if each.short is None else "FELL SHORT"
        print(
            f"{len(results):3}/{len(chosen)} {outcome:10} {each.seconds:5.1f} s  {each.fault.kind}: {each.fault.name!r}",
            flush=True,
        )
    print(f"\n{table(results)}\n\n{len(results)} faults in {time.monotonic() - began:.0f} s")
    if why := stacks.why_not():
        print(f"None on Docker: {why}.")
    return int(any(each.short for each in results))


if __name__ == "__main__":
    sys.exit(main())
