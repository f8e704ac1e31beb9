"""The README's first ten minutes, pasted into bash in order; what it prints is what the README shows."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.docs.conftest import House
from tests.docs.documents import document, fences_in

SHOWN_ADDRESS = "http://127.0.0.1:8080"
MARK = "-- end of step --"


def steps() -> list[tuple[str, list[str]]]:
    """Each block of commands with the lines that are shown after it."""
    blocks = fences_in(document("README.md").section("The first ten minutes"))
    assert [block.kind for block in blocks] == ["sh", "text"] * (len(blocks) // 2), "each block of commands is followed by what it prints"
    return [(sh.text, shown.text.splitlines()) for sh, shown in zip(blocks[::2], blocks[1::2], strict=True)]


def like(shown: str, base_url: str) -> re.Pattern[str]:
    """A shown line as a pattern: `…` is anything."""
    return re.compile(".*".join(re.escape(part) for part in shown.replace(SHOWN_ADDRESS, base_url).split("…")))


def in_order(shown: list[str], printed: list[str], base_url: str) -> str | None:
    """The first shown line that was not printed after the ones before it, or None."""
    lines = iter(printed)
    return next((line for line in shown if not any(like(line, base_url).fullmatch(each) for each in lines)), None)


def test_a_line_that_was_not_printed_is_found() -> None:
    assert in_order(["a…", "b"], ["x", "abc", "b"], "") is None
    assert in_order(["b", "a…"], ["abc", "b"], "") == "a…"


def test_the_first_ten_minutes(house: House) -> None:
    script = "".join(f"{commands}printf '\\n%s\\n' '{MARK}'\n" for commands, _ in steps())
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    ran = subprocess.run(  # noqa: S603  the README's own words
        ["bash", "-euo", "pipefail", "-c", script],  # noqa: S607  the bash of whoever reads it
        cwd=house.directory,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    printed = ran.stdout.split(f"{MARK}\n")[:-1]
    for (commands, shown), output in zip(steps(), printed, strict=True):
        missing = in_order(shown, [line.strip() for line in output.splitlines()], house.facts["base_url"])
        assert missing is None, f"{commands}\nshould have printed\n{missing}\nand printed\n{output}"
