"""Rules about a file as text."""

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from tests.rules.syntax import Finding

MOST_LINES = 400
MACHINE_ROOTS = ("work", "farm", "root")
PATTERNS = {  # composed, so that this file does not hold what it forbids
    "a package registry's host name": "|".join(
        re.escape(".".join(labels))
        for labels in (
            ("py" + "pi", "org"),
            ("py" + "pi", "python", "org"),
            ("python" + "hosted", "org"),
            ("npm" + "js", "org"),
            ("npm" + "js", "com"),
            ("yarnpkg", "com"),
            ("deb", "debian", "org"),
            ("security", "debian", "org"),
            ("snapshot", "debian", "org"),
            ("ftp", "debian", "org"),
        )
    ).join(("(?:", r")\b")),
    "a path of one machine": rf"/(?<![\w.~)}}$*-]/)(?:{'|'.join(MACHINE_ROOTS)})/",
}
FORBIDDEN = re.compile("|".join(f"(?P<p{number}>{pattern})" for number, pattern in enumerate(PATTERNS.values())), re.IGNORECASE)


def forbidden_words(_tree: ast.Module, lines: Sequence[str], _path: PurePosixPath) -> Iterator[Finding]:
    """The repository builds anywhere: it names no registry address and no path of the machine it was written on."""
    if not FORBIDDEN.search("\n".join(lines)):  # one search over the whole is fast, and nearly every file is clean
        return
    for number, line in enumerate(lines, start=1):
        for match in FORBIDDEN.finditer(line):
            what = list(PATTERNS)[int((match.lastgroup or "p0")[1:])]
            yield number, f"{what}: {match.group()}"


def file_length(_tree: ast.Module, lines: Sequence[str], path: PurePosixPath) -> Iterator[Finding]:
    """A file is read in one sitting; a longer one holds two subjects."""
    if path.suffix == ".py" and len(lines) > MOST_LINES:
        yield MOST_LINES + 1, f"{len(lines)} lines; split it by subject, {MOST_LINES} are the most"
