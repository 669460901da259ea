"""`.ci/docker`, with stand-ins for Docker and its daemon."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.scripts.conftest import HERE

CLIENT = """#!/bin/sh
case "$1 $2" in
"version "*) [ -e "$RUN/answers" ] && echo 28.0 ;;
"compose version") echo 2.30 ;;
"buildx version") echo buildx ;;
esac
"""

DAEMON = """#!/bin/bash
pid=$RUN/docker.pid
if [ "${1:-}" = ending ]; then
    trap 'sleep 1; rm -f "$pid"; exit' TERM
    echo $$ >"$pid"
    while :; do sleep 0.1; done
fi
if [ -e "$pid" ] && kill -0 "$(cat "$pid")" 2>/dev/null; then
    echo "failed to start daemon, ensure docker is not running or delete $pid"
    exit 1
fi
echo $$ >"$pid"
touch "$RUN/answers"
while [ -e "$RUN/answers" ]; do sleep 0.1; done
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="starting a daemon takes root")
@pytest.mark.skipif(Path("/run/systemd/system").is_dir(), reason="systemd starts it here")
def test_daemon_that_is_ending(tmp_path: Path) -> None:
    """Just after a daemon was told to end, it waits until that one has, and then starts another."""
    programs, run = tmp_path / "bin", tmp_path / "run"
    programs.mkdir()
    run.mkdir()
    for name, script in (("docker", CLIENT), ("dockerd", DAEMON), ("mmdebstrap", "#!/bin/sh\n")):
        (programs / name).write_text(script)
        (programs / name).chmod(0o755)
    environ = os.environ | {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "RUN": str(run),
        "DOCKER_RUN": str(run),
        "DOCKERD_LOG": str(tmp_path / "log"),
        # Not that of a run of CI which this test is a part of.
        "DOCKERD_PIDFILE": str(tmp_path / "pid"),
    }
    with subprocess.Popen([programs / "dockerd", "ending"], env=environ) as old:
        end = time.monotonic() + 30
        while not (run / "docker.pid").exists():
            assert time.monotonic() < end
            time.sleep(0.02)
        old.terminate()
        try:
            done = subprocess.run(
                [HERE / ".ci/docker"], env=environ, capture_output=True, text=True, timeout=60, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr
            assert "Docker 28.0" in done.stdout + done.stderr
            assert int((run / "docker.pid").read_text()) != old.pid
        finally:
            (run / "answers").unlink(missing_ok=True)
