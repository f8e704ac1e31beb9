"""A running `trunkline dev`, as `make run` starts it: what the README walks through."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.docs.documents import ROOT
from trunkline.dev.ports import free_port

READY_WITHIN, STOPPED_WITHIN = 90.0, 30.0


@dataclass(frozen=True)
class House:
    """Where it runs, what stands in its dev.json, and what it printed until it was serving."""

    directory: Path
    facts: dict[str, Any]
    printed: str


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    directory = tmp_path_factory.mktemp("checkout")
    output = directory / "printed.txt"
    argv = [sys.executable, "-P", "-m", "trunkline.cli", "dev", "--port", str(free_port()), "--data-dir", ".trunkline"]
    env = {name: value for name, value in os.environ.items() if not name.startswith("TRUNKLINE_")}
    with output.open("wb") as file:
        process = subprocess.Popen(  # noqa: S603  our own program
            argv, cwd=directory, env={**env, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}, stdout=file, stderr=subprocess.STDOUT
        )
    try:
        until_serving(process, output)
        yield House(directory, json.loads((directory / ".trunkline" / "dev.json").read_text()), output.read_text())
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=STOPPED_WITHIN)


def until_serving(process: "subprocess.Popen[bytes]", output: Path) -> None:
    deadline = time.monotonic() + READY_WITHIN
    while "Serving until" not in output.read_text():
        assert process.poll() is None, output.read_text()
        assert time.monotonic() < deadline, output.read_text()
        time.sleep(0.1)
