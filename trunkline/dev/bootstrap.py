"""Makes or repairs `.venv` with the pinned packages. Runs on the machine's own Python, before anything is installed: standard library only.

Usage: python3 -I trunkline/dev/bootstrap.py
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036  whoever calls this may have an older one: it must parse there, up to here at least
    sys.exit(
        "Trunkline needs Python 3.11 or newer, and this is {}.{}: name another with `make PYTHON=python3.11 …`.".format(*sys.version_info)
    )

import fcntl
import hashlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
PINS = ROOT / "requirements" / "dev.txt"
LOCK = ROOT / ".venv.lock"
LOG = ROOT / ".venv.log"
STAMP = VENV / ".trunkline"  # from the first moment on, so that a half-made directory is known as ours; holds `wanted()` when all is done
INSTALL = ["-m", "pip", "--disable-pip-version-check", "install", "--require-hashes", "--only-binary", ":all:", "--progress-bar", "off"]
LINE_EVERY = 5.0  # seconds between lines of progress where there is no terminal
LONGEST_QUIET = 600.0  # seconds for which pip may make no progress at all


def main() -> None:
    """Leaves `.venv` ready; instant when it is so already. One at a time per checkout."""
    if ready():
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with LOCK.open("a") as lock:
        try:
            wait_for(lock)
            if not ready():
                build(lock)
        except KeyboardInterrupt:
            sys.exit(130)


def ready() -> bool:
    """Whether a finished `.venv` with these pins, for this checkout and on a Python that still runs, stands there."""
    return PYTHON.exists() and STAMP.exists() and STAMP.read_text() == wanted()


def wanted() -> str:
    """What the finished `.venv` is made for."""
    return f"{hashlib.sha256(PINS.read_bytes()).hexdigest()} {ROOT}\n"


def wait_for(lock: IO[str]) -> None:
    """Holds the lock. It is passed on to pip, so that it outlives us as long as a pip of ours does."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("another make installs into .venv: waiting for it")
        fcntl.flock(lock, fcntl.LOCK_EX)


def build(lock: IO[str]) -> None:
    """Creates what is missing, installs the pins, makes this checkout importable, and only then sets the stamp."""
    LOG.write_text("")
    if not usable():
        create(lock)
    STAMP.write_text("unfinished\n")
    pins = len(re.findall(r"^\S+==", PINS.read_text(), re.MULTILINE))
    say(f"installing {pins} pinned packages into .venv (details: .venv.log)")
    began = time.monotonic()
    code = run([str(PYTHON), *INSTALL, "-r", str(PINS)], lock, pins)
    if code != 0:
        sys.exit(f"{tail()}\nThe packages could not be installed (pip ended with {code}); see .venv.log. `make` again goes on from here.")
    make_importable()
    STAMP.write_text(wanted())
    say(f".venv is ready after {time.monotonic() - began:.0f} s")


def usable() -> bool:
    """Whether `.venv` is an environment with pip on a Python that suits; one that is none and not ours is never removed."""
    if VENV.exists() and not STAMP.exists() and not (VENV / "pyvenv.cfg").exists() and any(VENV.iterdir()):
        sys.exit(f"{VENV} is no virtual environment, and make did not create it: move it away.")
    if not PYTHON.exists():
        return False
    probe = "import pip, sys; sys.exit(sys.version_info < (3, 11))"
    return subprocess.run([PYTHON, "-I", "-c", probe], stderr=subprocess.DEVNULL, check=False).returncode == 0  # noqa: S603  our own environment


def create(lock: IO[str]) -> None:
    """An empty environment in place of whatever half stood there."""
    say("creating .venv with Python {}.{}.{}".format(*sys.version_info))
    if VENV.is_symlink():
        VENV.unlink()
    shutil.rmtree(VENV, ignore_errors=True)
    VENV.mkdir()
    STAMP.write_text("unfinished\n")
    if run([sys.executable, "-I", "-m", "venv", str(VENV)], lock, 0) != 0:
        sys.exit(f"{tail()}\nPython cannot make a virtual environment: on Debian and Ubuntu install the package python3-venv.")


def make_importable() -> None:
    """Puts the checkout on the environment's path and a `trunkline` command into it; needs no build tool and no network."""
    for packages in VENV.glob("lib/python3*/site-packages"):
        (packages / "trunkline.pth").write_text(f"{ROOT}\n")
    command = VENV / "bin" / "trunkline"
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(str(PYTHON))} -P -m trunkline.cli "$@"\n')
    command.chmod(0o755)


def run(argv: "list[str]", lock: IO[str], pins: int) -> int:
    """Runs a step with its output in the log, showing that it lives; ends it when we are ended."""
    with LOG.open("ab") as log:
        process = subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[lock.fileno()])  # noqa: S603  our own steps
    try:
        watch(process, pins)
    finally:
        if process.poll() is None:
            process.terminate()
        code = process.wait()
        if sys.stderr.isatty():
            sys.stderr.write("\r\033[K")
    return code


def watch(process: "subprocess.Popen[bytes]", pins: int) -> None:
    """Shows progress until the process ends: in place on a terminal, line by line in a log."""
    began = shown = moved = time.monotonic()
    before, last = installed(), (0, 0)
    while process.poll() is None:
        time.sleep(0.2)
        now, state = time.monotonic(), (collected(), installed() - before)
        moved, last = (now, state) if state != last else (moved, last)
        if now - moved > LONGEST_QUIET:
            sys.exit(f"{tail()}\nNo progress for {LONGEST_QUIET:.0f} s: is the package index reachable? See .venv.log.")
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\033[K  {progress(state, pins)} ({now - began:.0f} s)")
            sys.stderr.flush()
        elif now - shown > LINE_EVERY:
            shown = now
            say(f"  {progress(state, pins)} ({now - began:.0f} s)")


def progress(state: "tuple[int, int]", pins: int) -> str:
    """What pip is at, in words."""
    fetched, done = state
    if not pins:
        return "preparing"
    return f"{min(done, pins)} of {pins} installed" if done else f"{min(fetched, pins)} of {pins} fetched"


def collected() -> int:
    """How many packages pip has looked at so far."""
    return len(re.findall(rb"^(?:Collecting|Requirement already satisfied)", LOG.read_bytes(), re.MULTILINE))


def installed() -> int:
    """How many packages stand in the environment."""
    return sum(1 for _ in VENV.glob("lib/python3*/site-packages/*.dist-info"))


def tail() -> str:
    """The end of the log."""
    return "\n".join(LOG.read_text(errors="replace").splitlines()[-15:])


def say(line: str) -> None:
    """One line for the person at the terminal; stdout stays free for programs."""
    sys.stderr.write(f"trunkline: {line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    os.umask(os.umask(0o022) | 0o022)  # nobody else may write what make will run
    main()
