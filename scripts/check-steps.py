#!/usr/bin/env python
"""Check every `run:` block of some workflows with shellcheck: scripts/lint's part that needs a YAML parser."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from ruamel.yaml import YAML

BASH = "#!/usr/bin/env bash\nset -eo pipefail\n"
"""What Actions does for `shell: bash`, in as many lines as are taken off the line numbers below."""


def main(workflows: list[str]) -> int:
    """Run shellcheck on the steps of the workflows; its exit code."""
    with tempfile.TemporaryDirectory() as folder:
        lines: dict[str, tuple[str, int]] = {}
        for workflow in workflows:
            for job in YAML().load(Path(workflow))["jobs"].values():
                for step in job.get("steps", []):
                    if "run" not in step:
                        continue
                    # ruamel counts from 0; a block begins on the line after its key, and a single line stands beside it.
                    line, _ = step.lc.value("run")
                    block = Path(folder) / str(len(lines))
                    block.write_text(BASH + step["run"])
                    lines[block.name] = workflow, line + ("\n" in step["run"])
        shellcheck = subprocess.run(
            ["shellcheck", "--shell=bash", "--format=gcc", *lines],
            cwd=folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
    for found in shellcheck.stdout.splitlines():
        name, line, rest = found.split(":", 2)
        workflow, first = lines[name]
        print(f"{workflow}:{first + int(line) - BASH.count(chr(10))}:{rest}")
    print(shellcheck.stderr, end="", file=sys.stderr)
    return shellcheck.returncode


sys.exit(main(sys.argv[1:]))
