import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

PROGRAM = Path(__file__).with_name("supervised.py")


class Run:
    """A supervised program in a process group of its own, as a terminal or `make` would start it."""

    def __init__(
        self, data_dir: Path, *, commands: Sequence[str] = ("idle",), prefix: Sequence[str] = (), env: dict[str, str] | None = None
    ) -> None:
        self.data_dir, self.mark = data_dir, uuid.uuid4().hex
        (data_dir / "state.json").unlink(missing_ok=True)
        self.output = data_dir.with_name(f"{data_dir.name}.{self.mark}.txt")
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(  # noqa: S603  the program beside this file
                [*prefix, sys.executable, str(PROGRAM), str(data_dir), *commands],
                cwd=PROGRAM.parents[2],
                env={**os.environ, "PYTHONPATH": str(PROGRAM.parents[2]), "MARK_OF_RUN": self.mark, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        return self.output.read_text()

    def state(self, within: float = 40) -> dict[str, Any]:
        """What the program wrote once everything ran."""
        self.until(lambda: (self.data_dir / "state.json").exists() or self.process.poll() is not None, within)
        assert (self.data_dir / "state.json").exists(), self.said
        state: dict[str, Any] = json.loads((self.data_dir / "state.json").read_text())
        return state

    def until(self, check: Callable[[], object], within: float = 15) -> None:
        deadline = time.monotonic() + within
        while not check():
            assert time.monotonic() < deadline, self.said
            time.sleep(0.03)

    def living(self) -> list[psutil.Process]:
        """Every process of this run, whatever its parent: by environment, by arguments, by where it stands."""
        return [process for process in psutil.process_iter() if process.pid != os.getpid() and self._is_ours(process)]

    def stop(self, number: signal.Signals, *, group: bool = False, within: float = 15) -> int:
        (os.killpg if group else os.kill)(self.process.pid, number)
        return self.process.wait(timeout=within)

    def kill_all(self) -> None:
        for process in self.living():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait(timeout=5)
        self.until(lambda: not self.living())

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return process.status() != psutil.STATUS_ZOMBIE and (
                process.environ().get("MARK_OF_RUN") == self.mark
                or any(str(self.data_dir) in word for word in process.cmdline())
                or Path(process.cwd()).is_relative_to(self.data_dir)
            )
        except psutil.Error:
            return False


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """As a careless user would make it: open to others, and it has to stay so."""
    made = tmp_path / "data"
    made.mkdir()
    made.chmod(0o755)
    return made


@pytest.fixture
def launch() -> Iterator[Callable[..., Run]]:
    """Starts supervised programs and makes sure that none outlives the test."""
    runs: list[Run] = []

    def start(*args: Any, **kwargs: Any) -> Run:
        runs.append(Run(*args, **kwargs))
        return runs[-1]

    yield start
    for run in runs:
        run.kill_all()
