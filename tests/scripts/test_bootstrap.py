"""scripts/bootstrap, without network: the interpreters and installers on PATH are stand-ins."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.scripts.conftest import Checkout

LOCK = "requirements/dev.txt"
VENV = ".venv/bin/python"


@pytest.fixture
def ready(checkout: Checkout) -> Checkout:
    """A checkout with the bootstrap and its inputs, a Python and uv."""
    checkout.copy("scripts/bootstrap", "scripts/_lib.sh")
    checkout.write(LOCK, "alpha==1.0 \\\n    --hash=sha256:00\nbeta==2.0 \\\n    --hash=sha256:00\n")
    checkout.write("pyproject.toml", "[project]\n")
    checkout.python("python3")
    checkout.uv()
    return checkout


def bootstrap(checkout: Checkout, **variables: str) -> str:
    """Run the bootstrap, which does what it should; return what it said."""
    result = checkout.run("scripts/bootstrap", **variables)
    assert result.returncode == 0, result.stdout
    assert (checkout.root / ".venv/.bootstrapped").is_file()
    return result.stdout


def refusal(checkout: Checkout, **variables: str) -> str:
    """Run the bootstrap, which fails and leaves nothing that looks whole; return what it said."""
    result = checkout.run("scripts/bootstrap", **variables)
    assert result.returncode == 1, result.stdout
    assert not (checkout.root / ".venv/.bootstrapped").exists()
    return result.stdout


def wait_for_call(checkout: Checkout, words: str) -> None:
    """Wait until a stand-in was called with these words."""
    end = time.monotonic() + 20
    while words not in checkout.log.read_text():
        assert time.monotonic() < end, f"nobody called {words!r}"
        time.sleep(0.01)


class TestInstalling:
    """What a new .venv is made of."""

    def test_with_uv(self, ready: Checkout) -> None:
        """The first run makes a venv, installs the lock with hashes checked, then the checkout itself, with uv."""
        said = bootstrap(ready)
        venv, packages, project, check = ready.calls()
        assert venv == "uv venv"
        assert packages.startswith("uv pip install")
        assert packages.endswith(f"--no-deps --require-hashes -r {LOCK}")
        assert project.startswith("uv pip install")
        assert project.endswith("--no-deps --no-build-isolation -e .")
        assert check.startswith("uv pip check")
        assert "installing 2 locked packages with uv" in said

    def test_with_pip(self, ready: Checkout) -> None:
        """Without uv on PATH, pip in the new venv installs the same."""
        (ready.tools / "uv").unlink()
        said = bootstrap(ready)
        venv, packages, project, check = ready.calls()
        assert venv == "venv"
        assert packages.startswith("pip install")
        assert packages.endswith(f"--no-deps --require-hashes -r {LOCK}")
        assert project.startswith("pip install")
        assert project.endswith("--no-deps --no-build-isolation -e .")
        assert check == "pip check"
        assert "installing 2 locked packages with pip" in said

    def test_plain_lines(self, ready: Checkout) -> None:
        """Where nobody watches, each step is one plain line."""
        lines = bootstrap(ready).splitlines()
        assert len(lines) == 3
        assert all(line.startswith("bootstrap: ") and line.isprintable() for line in lines)

    def test_one_bundle_for_both_installers(self, ready: Checkout) -> None:
        """A CA bundle named for one tool is known to the other one, too, which keeps what its own setting says."""
        ready.install('echo "uv: $SSL_CERT_FILE, pip: $REQUESTS_CA_BUNDLE" >>"$log"\n')
        bootstrap(ready, PIP_CERT="/pip.pem")
        assert "uv: /pip.pem, pip: /pip.pem" in ready.calls()
        (ready.root / VENV).unlink()
        bootstrap(ready, SSL_CERT_FILE="/ours.pem", REQUESTS_CA_BUNDLE="/theirs.pem")
        assert "uv: /ours.pem, pip: /theirs.pem" in ready.calls()


class TestNothingToDo:
    """When .venv is taken as it is, and when it is not."""

    def test_second_run(self, ready: Checkout) -> None:
        """The second run says nothing and calls nobody."""
        bootstrap(ready)
        ready.calls()
        assert bootstrap(ready) == ""
        assert ready.calls() == []

    @pytest.mark.parametrize("path", [LOCK, "scripts/bootstrap"])
    def test_packages_again(self, ready: Checkout, path: str) -> None:
        """Another lock, or another bootstrap, makes the whole .venv again."""
        bootstrap(ready)
        ready.write(path, (ready.root / path).read_text() + "\n# another one\n")
        ready.calls()
        bootstrap(ready)
        assert len(ready.calls()) == 4
        assert bootstrap(ready) == ""

    def test_only_the_project_again(self, ready: Checkout) -> None:
        """Another pyproject.toml with the same lock installs only the checkout again, for its entry points."""
        bootstrap(ready)
        ready.write("pyproject.toml", "[project]\nname = 'other'\n")
        ready.calls()
        bootstrap(ready)
        assert [call.split()[-1] for call in ready.calls() if " check" not in call] == ["."]

    def test_vanished_interpreter(self, ready: Checkout) -> None:
        """A .venv whose interpreter was uninstalled is made again."""
        bootstrap(ready)
        (ready.root / VENV).unlink()
        (ready.root / VENV).symlink_to("/nowhere/python3")
        ready.calls()
        bootstrap(ready)
        assert len(ready.calls()) == 4

    def test_replaced_interpreter(self, ready: Checkout) -> None:
        """A .venv whose interpreter became another version is made again: its packages are elsewhere now."""
        bootstrap(ready)
        (ready.root / VENV).write_bytes(ready.python("python3", "3.14.0").read_bytes())
        ready.calls()
        assert "Python 3.14.0" in bootstrap(ready)
        assert len(ready.calls()) == 4

    def test_moved_checkout(self, ready: Checkout) -> None:
        """A checkout that was moved gets a new .venv: the old one's programs name the old place."""
        bootstrap(ready)
        ready.root = ready.root.rename(ready.root.with_name("moved"))
        ready.calls()
        bootstrap(ready)
        assert len(ready.calls()) == 4

    def test_asked_for_another_python(self, ready: Checkout) -> None:
        """PYTHON of another version makes .venv again; without PYTHON, any whole .venv is kept."""
        bootstrap(ready)
        other = ready.python("other", "3.12.5")
        assert "Python 3.12.5" in bootstrap(ready, PYTHON=str(other))
        ready.calls()
        assert bootstrap(ready) == ""
        assert bootstrap(ready, PYTHON=str(other)) == ""
        assert ready.calls() == []


class TestChoosingPython:
    """Which interpreter .venv is made with."""

    def test_too_old_ones_are_passed_over(self, ready: Checkout) -> None:
        """A python3 that is too old does not end the search."""
        ready.python("python3", "3.9.18")
        ready.python("python3.11", "3.11.7")
        ready.python("python3.12", "3.12.1")
        assert "making .venv with Python 3.12.1" in bootstrap(ready)

    def test_too_new_ones_are_passed_over(self, ready: Checkout) -> None:
        """A python3 that the lock was not made for is passed over as well."""
        ready.python("python3", "3.15.0")
        ready.python("python3.14", "3.14.2")
        assert "making .venv with Python 3.14.2" in bootstrap(ready)

    def test_shims_without_a_version_behind_them(self, ready: Checkout) -> None:
        """A version manager's shim that only says that nothing is installed is passed over."""
        ready.program(ready.tools / "python3", "echo 'not installed' >&2\nexit 127\n")
        ready.python("python3.11", "3.11.7")
        assert "making .venv with Python 3.11.7" in bootstrap(ready)

    def test_none_fits(self, ready: Checkout) -> None:
        """When none fits, the message says the rule, what was found, and what to do; nothing is made."""
        ready.python("python3", "3.9.18")
        ready.program(ready.tools / "python3.12", "exit 127\n")
        said = refusal(ready)
        assert "The rule: Python 3.11 to 3.14." in said
        assert "Found: python3 is 3.9.18" in said
        assert "Found: python3.12 does not run" in said
        assert "apt install python3" in said
        assert not (ready.root / ".venv").exists()

    def test_none_there(self, ready: Checkout) -> None:
        """Without any Python, it says so."""
        (ready.tools / "python3").unlink()
        assert "Found: no python3 on PATH" in refusal(ready)

    @pytest.mark.parametrize(
        ("name", "found"),
        [("old", "old is 3.10.13"), ("nowhere/python3", "nowhere/python3 is not a command")],
    )
    def test_the_one_asked_for_does_not_do(self, ready: Checkout, name: str, found: str) -> None:
        """PYTHON is taken at its word: when that one does not do, no other is taken."""
        ready.python("old", "3.10.13")
        said = refusal(ready, PYTHON=name)
        assert f"PYTHON={name} is no Python for this checkout" in said
        assert f"Found: {found}" in said

    def test_without_ensurepip(self, ready: Checkout) -> None:
        """Debian's Python without python3-venv is named as such, with the package to install."""
        (ready.tools / "uv").unlink()
        ready.python("python3", "3.11.2", ensurepip=False)
        said = refusal(ready)
        assert "Found: python3 is 3.11.2, but lacks the venv or ensurepip module" in said
        assert "apt install python3-venv (or python3.11-venv, for this one)" in said

    def test_without_ensurepip_but_with_uv(self, ready: Checkout) -> None:
        """With uv there, ensurepip is not needed: uv makes venvs by itself."""
        ready.python("python3", "3.11.2", ensurepip=False)
        assert "making .venv with Python 3.11.2" in bootstrap(ready)


class TestFailing:
    """What is said when a step fails, and what the next run makes of what is left."""

    @pytest.mark.parametrize(
        ("output", "reason"),
        [
            (
                "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.",
                "is not the one that",
            ),
            ("error: Hash mismatch for `alpha==1.0`", "is not the one that"),
            ("OSError: [Errno 28] No space left on device", "the disk is full"),
            ("cause: failed to copy file: No space left on device (os error 28)", "the disk is full"),
            ("Failed to establish a new connection: [Errno 111] Connection refused", "cannot be reached"),
            ("cause: dns error", "cannot be reached"),
            ("cause: invalid peer certificate: UnknownIssuer", "certificate is not trusted"),
            ("There was a problem confirming the ssl certificate", "certificate is not trusted"),
            ("something else", "this step failed"),
        ],
    )
    def test_reason(self, ready: Checkout, output: str, reason: str) -> None:
        """The message says which of the usual things went wrong; the tool's own last lines stand above it."""
        ready.install(f"echo '{output}'\nexit 1\n")
        said = refusal(ready)
        assert f"    | {output}" in said
        error = said[said.index("bootstrap: error: ") :]
        assert reason in error.splitlines()[0]
        assert len(error.splitlines()) > 1

    def test_reason_above_a_misleading_last_line(self, ready: Checkout) -> None:
        """The "No matching distribution" that pip ends with does not hide that the index could not be reached."""
        ready.install(
            "echo 'Connection reset by peer'\necho 'ERROR: No matching distribution found for alpha'\nexit 1\n"
        )
        assert "the package index cannot be reached" in refusal(ready)

    def test_system_certificates_as_a_second_try(self, ready: Checkout) -> None:
        """Where the installer's own certificates do not do, as behind a proxy that inspects TLS, the system's do."""
        ready.install('[ "${UV_SYSTEM_CERTS:-}" = true ] || { echo "invalid peer certificate"; exit 1; }\n')
        bootstrap(ready)
        assert len([call for call in ready.calls() if "--require-hashes" in call]) == 2

    def test_half_made(self, ready: Checkout) -> None:
        """What a failed run left is made again by the next one."""
        ready.install("exit 1\n")
        refusal(ready)
        assert (ready.root / VENV).exists()
        ready.install("")
        ready.calls()
        bootstrap(ready)
        assert len(ready.calls()) == 4

    def test_failed_on_the_project(self, ready: Checkout) -> None:
        """When only the checkout itself did not install, the packages are kept."""
        ready.install('case "$*" in *-e*) exit 1 ;; esac\n')
        refusal(ready)
        ready.install("")
        ready.calls()
        bootstrap(ready)
        assert len(ready.calls()) == 2

    def test_missing_lock(self, ready: Checkout) -> None:
        """Without a lock nothing is installed, and the message says how to make one."""
        (ready.root / LOCK).unlink()
        assert "make lock" in refusal(ready)
        assert ready.calls() == []

    @pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
    def test_interrupted(self, ready: Checkout, name: str, code: int) -> None:
        """Ctrl-C half-way ends it with the usual exit code; the next run makes .venv again."""
        # exec: a child made at the very moment of the signal would be missed by it, and would keep the pipe open.
        ready.install("exec sleep 30\n")
        # A test run in the background can have SIGINT ignored, and a shell cannot undo that: hence the way round.
        start = f"import os, signal; signal.signal(signal.{name}, signal.SIG_DFL); os.execv('scripts/bootstrap', ['b'])"
        process = subprocess.Popen(
            [sys.executable, "-I", "-c", start],
            cwd=ready.root,
            env=ready.environment(),
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        wait_for_call(ready, "--require-hashes")
        os.killpg(process.pid, getattr(signal, name))
        _, said = process.communicate(timeout=20)
        assert process.returncode == code
        assert "interrupted" in said
        assert not (ready.root / ".venv/.bootstrapped").exists()
        ready.install("")
        ready.calls()
        bootstrap(ready)
        assert len(ready.calls()) == 4


class TestTwoAtOnce:
    """Two in one checkout."""

    def test_second_one_waits(self, ready: Checkout) -> None:
        """The second one waits for the first, finds .venv whole, and has nothing to do."""
        ready.install("sleep 0.3\n")
        with subprocess.Popen(
            ["scripts/bootstrap"], cwd=ready.root, env=ready.environment(), stderr=subprocess.DEVNULL
        ) as first:
            wait_for_call(ready, "--require-hashes")
            assert bootstrap(ready) == "bootstrap: waiting for another one in this checkout, 600 s at most\n"
        assert first.returncode == 0
        assert len(ready.calls()) == 4

    def test_wait_has_an_end(self, ready: Checkout) -> None:
        """The wait is bounded, and its end says what to look for."""
        with (ready.root / LOCK).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            said = refusal(ready, BOOTSTRAP_WAIT="0.1")
        assert "another bootstrap in this checkout did not end within 0.1 s" in said
        assert ready.calls() == []


class TestOthers:
    """`scripts/bootstrap NAME`: what must not be in .venv with the rest."""

    @pytest.fixture
    def others(self, ready: Checkout) -> Checkout:
        """A checkout with pip alone, a .venv, and another lock."""
        (ready.tools / "uv").unlink()
        ready.write("requirements/docs.txt", "gamma==1.0 \\\n    --hash=sha256:00\n")
        bootstrap(ready)
        ready.calls()
        return ready

    def docs(self, checkout: Checkout) -> list[str]:
        """Make the environment; who was called for that."""
        result = checkout.run("scripts/bootstrap", "docs")
        assert result.returncode == 0, result.stdout
        return checkout.calls()

    def test_once(self, others: Checkout) -> None:
        """It is made of its own lock, without greenroom itself, beside .venv; the second time there is nothing to do."""
        venv, packages, check = self.docs(others)
        assert (venv, check) == ("venv", "pip check")
        assert packages.endswith("--no-deps --require-hashes -r requirements/docs.txt")
        assert (others.root / ".greenroom/docs/bin/python").is_file()
        assert self.docs(others) == []
        others.write("pyproject.toml", "[project]\nname = 'other'\n")
        assert self.docs(others) == []

    def test_another_python(self, others: Checkout) -> None:
        """It has the Python of .venv, and is made again together with that."""
        self.docs(others)
        bootstrap(others, PYTHON=str(others.python("other", "3.12.5")))
        others.calls()
        assert len(self.docs(others)) == 3

    @pytest.mark.parametrize(
        ("said", "code"),
        [
            ("alpha 1.0 has requirement beta<2, but you have beta 2.0.", 0),
            ("alpha 1.0 requires beta, which is not installed.", 1),
        ],
    )
    def test_not_whole(self, others: Checkout, said: str, code: int) -> None:
        """Another version than a package asks for may be meant there; what is missing makes it fail."""
        others.install(f'[ "$1" != check ] || {{ echo "{said}"; exit 1; }}\n')
        result = others.run("scripts/bootstrap", "docs")
        assert result.returncode == code, result.stdout
        assert (said in result.stdout) == bool(code)
