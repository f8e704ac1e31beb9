"""Copies of the checkout to break, and pytest in them with this checkout's packages."""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self
from xml.etree import ElementTree as ET

from tests.mutants.mutation import Mutation, broken_texts

HOUSE = Path(__file__).resolve().parents[2]
ORIGIN = "tests/mutants/test_origin.py"
SECONDS = 240.0  # for one run of pytest; a mutant may make a test hang
ASSERTIONS = ("AssertionError", "assert ", "Failed: DID NOT RAISE", "Failed: Timeout")  # how a test says that a promise was not kept

Verdict = Literal["killed", "survived", "broken"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """`killed`: a test failed by an assertion. `survived`: all passed. `broken`: it failed otherwise, which proves nothing."""

    verdict: Verdict
    detail: str


class Copy:
    """The files that are committed or would be, in a directory of their own, which goes at the end."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="trunkline-mutants-"))
        self.house = self.directory / "house"
        self._moment = int(time.time())

    def __enter__(self) -> Self:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],  # noqa: S607  the git of whoever runs this
            cwd=HOUSE, capture_output=True, check=True, text=True,
        )  # fmt: skip
        for name in sorted(set(listed.stdout.split("\0")) - {""}):
            if (HOUSE / name).is_file():
                (self.house / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(HOUSE / name, self.house / name)
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)

    async def try_out(self, chosen: Mutation) -> Outcome:
        """Break the copy, run the tests, mend it.

        Raises:
            Stale: the mutation fits no more.
        """
        broken = broken_texts(HOUSE, chosen)
        try:
            for name, text in broken.items():
                self._write(name, text)
            return await self.test(chosen.tests)
        finally:
            for name in broken:
                self._write(name, (HOUSE / name).read_text("utf-8"))

    def _write(self, name: str, text: str) -> None:
        """A file with a time of its own: bytecode is told from its source by seconds."""
        self._moment += 2
        (self.house / name).write_text(text, "utf-8")
        os.utime(self.house / name, (self._moment, self._moment))

    async def test(self, tests: Sequence[str]) -> Outcome:
        """Run tests in the copy until one fails; that it is the copy's code comes first."""
        report = self.directory / "report.xml"
        report.unlink(missing_ok=True)
        argv = [sys.executable, "-P", "-m", "pytest", "-x", "-q", f"--junitxml={report}", f"--rootdir={self.house}", ORIGIN, *tests]
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PYTHON", "GIT_"))}
        environment |= {"PYTHONSAFEPATH": "1"}
        log = (self.directory / "log").open("wb")
        child = await asyncio.create_subprocess_exec(*argv, cwd=self.house, env=environment, stdout=log, stderr=log)
        try:
            code = await asyncio.wait_for(child.wait(), SECONDS)
        except TimeoutError:
            return Outcome("broken", f"pytest took longer than {SECONDS:g} s")
        finally:
            if child.returncode is None:
                child.terminate()
                await child.wait()
            log.close()
        return judged(code, report, (self.directory / "log").read_text("utf-8", errors="replace"))


def judged(code: int, report: Path, said: str) -> Outcome:
    """What pytest's exit code and its report mean."""
    if code == 0:
        return Outcome("survived", "every test passed")
    failed = [(case, kind) for case in cases(report) for kind in case if kind.tag in ("failure", "error")]
    if code != 1 or not failed:
        return Outcome("broken", said.strip().splitlines()[-1] if said.strip() else f"pytest ended with {code}")
    case, kind = failed[0]
    name, message = case.get("name", ""), kind.get("message", "").strip()
    first = message.splitlines()[0][:160] if message else ""
    kept = kind.tag == "failure" and not case.get("classname", "").endswith("test_origin") and message.startswith(ASSERTIONS)
    return Outcome("killed" if kept else "broken", name if kept else f"{name}: {kind.tag}: {first}")


def cases(report: Path) -> list[ET.Element]:
    """The tests that ran."""
    return list(ET.parse(report).iter("testcase")) if report.exists() else []  # noqa: S314  pytest wrote it a moment ago
