import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

HOUSE = Path(__file__).resolve().parents[2]
CLI = """
import api, os, signal, sys, time
def stop(number, frame):
    time.sleep(1)
    os.write(1, f"stopped by {signal.Signals(number).name}".encode())
    os._exit(0)
if sys.argv[1] == "dev":
    signal.signal(signal.SIGTERM, stop)
    print("serves", sys.argv[1:], flush=True)
    time.sleep(60)
print("says", sys.argv[1:])
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of its own under a path with a space, whose pins are few: none, so that nothing is downloaded."""
    house = tmp_path_factory.mktemp("a house") / "check out"
    for part in ("trunkline/dev", "requirements", "api"):
        (house / part).mkdir(parents=True)
    for part in ("Makefile", "trunkline/__init__.py", "trunkline/dev/bootstrap.py"):
        shutil.copy(HOUSE / part, house / part)
    (house / "requirements" / "dev.txt").write_text("# nothing\n")
    (house / "trunkline" / "cli.py").write_text(CLI)
    (house / "api" / "__init__.py").write_text("")
    return house


def make(house: Path, *words: str, wait: bool = True) -> "subprocess.Popen[str]":
    argv: Sequence[str] = ["make", "-C", str(house), *words, f"PYTHON={sys.executable}"]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "PYTHON"))}
    running = subprocess.Popen(  # noqa: S603  our own Makefile
        argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, env=env, start_new_session=True
    )
    if wait:
        running.wait(timeout=60)
    return running


def output(running: "subprocess.Popen[str]") -> str:
    return running.communicate(timeout=60)[0]


def test_two_at_once_make_one_environment_and_the_next_is_instant(house: Path) -> None:
    both = [make(house, "venv", wait=False) for _ in range(2)]
    said = [output(running) for running in both]
    assert [running.returncode for running in both] == [0, 0], said
    assert sorted("creating .venv" in text for text in said) == [False, True]
    began = time.monotonic()
    assert output(make(house, "venv")).count("installing") == 0
    assert time.monotonic() - began < 2


def test_the_command_works_from_anywhere_and_no_stray_package_shadows_ours(house: Path, tmp_path: Path) -> None:
    (tmp_path / "api").mkdir()
    (tmp_path / "api" / "__init__.py").write_text("raise SystemExit('the stray one')")
    command: list[str | Path] = [house / ".venv" / "bin" / "trunkline", "a", "b c"]
    tried = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)  # noqa: S603  ours
    assert tried.stdout == "says ['a', 'b c']\n"


def test_term_to_make_alone_reaches_the_program_and_make_waits_for_it(house: Path) -> None:
    running = make(house, "run", "PORT=1234", "DATA_DIR=some dir", wait=False)
    try:
        assert running.stdout
        while "serves" not in (line := running.stdout.readline()):
            assert line
        assert line == "serves ['dev', '--port', '1234', '--data-dir', 'some dir']\n"
        running.send_signal(signal.SIGTERM)
        assert "stopped by SIGTERM" in output(running)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)


def test_a_half_made_environment_is_repaired_and_a_foreign_directory_is_not_touched(house: Path) -> None:
    (house / ".venv" / "bin" / "python").unlink()
    assert output(make(house, "venv")).count("creating .venv") == 1
    (house / ".venv" / ".trunkline").write_text("unfinished\n")
    said = output(make(house, "venv"))
    assert "creating" not in said
    assert "is ready" in said
    shutil.rmtree(house / ".venv")
    (house / ".venv").mkdir()
    (house / ".venv" / "thesis.txt").write_text("years of work")
    refused = make(house, "venv")
    assert "make did not create it: move it away" in output(refused)
    assert refused.returncode != 0
    assert (house / ".venv" / "thesis.txt").exists()


def test_an_older_python_is_refused_in_one_sentence(tmp_path: Path) -> None:
    program = "import sys, runpy; sys.version_info = (3, 9, 2); runpy.run_path(sys.argv[1], run_name='__main__')"
    command: list[str | Path] = [sys.executable, "-c", program, HOUSE / "trunkline" / "dev" / "bootstrap.py"]
    tried = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)  # noqa: S603  ours
    assert tried.returncode == 1
    assert tried.stderr == "Trunkline needs Python 3.11 or newer, and this is 3.9: name another with `make PYTHON=python3.11 …`.\n"
