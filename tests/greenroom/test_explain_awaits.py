"""The call that was not awaited, as the source has it: in the explanation of the live error, and in that of its traceback."""

from __future__ import annotations

import gc
import runpy
import traceback
from pathlib import Path
from types import CoroutineType

import pytest

from greenroom.explain import explain
from greenroom.explain.pasted import explain_text

SOURCE = """\
class Service:
    async def rows(self, *names):
        return [*names]

service = Service()

async def pair(name="a"):
    return name, name

def work(given=None):
    {line}

work()
"""

LINES = {
    "service.rows('a').sort()": "result = await service.rows('a')",
    "print([1] + service.rows('a').copy())": "result = await service.rows('a')",
    "rows = service.rows('a'); rows.sort()": "rows = await service.rows('a')",
    "service.rows('a', 'b')[0]": "result = await service.rows('a', 'b')",
    "rows = service.rows(); rows[0] = 1": "rows = await service.rows()",
    "for row in service.rows(str(1)): pass": "result = await service.rows(str(1))",
    "first = [row for row in service.rows('a')]": "result = await service.rows('a')",
    "first = sorted(service.rows('a'), key=str)": "result = await service.rows('a')",
    "if len(pair('b')): pass": "result = await pair('b')",
    "one, other = pair('b')": "result = await pair('b')",
    "with pair() as both: pass": "result = await pair()",
    "pending = pair(); names = list(service.rows('a'))": "result = await service.rows('a')",
}
"""What uses a coroutine, and the code that is advised."""

UNKNOWN = {
    "given = pair(); given = given or 1; given.name": "given = await pair(…)",
    "for both in [pair()]: both.name": "both = await pair(…)",
    "async def inner(): ...\n    {'a': inner()}['a'].name": "result = await inner(…)",
}
"""What does not tell the call: the function's own name is what is left."""


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
@pytest.mark.parametrize(("line", "code"), [*LINES.items(), *UNKNOWN.items()])
def test_call(line: str, code: str, tmp_path: Path) -> None:
    """The advice has the call of the source, and the variable that it goes to, if both are plain to see."""
    file = tmp_path / "work.py"
    # A statement a line, as people write.
    file.write_text(SOURCE.replace("{line}", line.replace("; ", "\n    ")))
    try:
        runpy.run_path(str(file))
    except (AttributeError, TypeError) as error:
        explanation, text = explain(error), traceback.format_exc()
    # What nobody awaits is closed now. Left to the garbage collector, it may warn in the middle of another test.
    for each in gc.get_objects():
        if type(each) is CoroutineType and each.cr_code.co_filename == str(file):
            each.close()
    gc.collect()
    assert explanation is not None
    assert ("in asynchronous code, await it:", code) in explanation.fixes
    assert ("in a synchronous test, run it:", f"{code.replace('await ', 'run(')})") in explanation.fixes
    (pasted,) = explain_text(text)
    assert pasted.where == explanation.where
    # A pasted text has one line of the function: not the one that assigned the variable.
    if line in LINES and not code.startswith("rows ="):
        assert pasted.fixes == explanation.fixes
