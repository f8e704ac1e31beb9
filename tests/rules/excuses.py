"""The comments that excuse a line from a rule: `# unscoped: <reason>`, `# clock: <reason>`, in SQL `-- clock: <reason>`."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from tests.rules.sql_text import sql_in

EXCUSE = re.compile(r"(?:#|--)\s*(?P<word>unscoped|clock):(?P<reason>.*)")


@dataclass(frozen=True, slots=True)
class Excuse:
    """One such comment; a reason is at least a word."""

    line: int
    word: str
    reason: str


def excuses(tree: ast.Module, lines: Sequence[str], path: PurePosixPath) -> Iterator[Excuse]:
    """The excuses of a file: comments of Python, and comments of the SQL in it."""
    if not any(EXCUSE.search(line) for line in lines):  # reading tokens is slow, and few files excuse anything
        return
    if path.suffix == ".py":
        for token in tokenize.generate_tokens(io.StringIO("\n".join(lines) + "\n").readline):
            if token.type == tokenize.COMMENT and (match := EXCUSE.match(token.string)):
                yield Excuse(token.start[0], match["word"], match["reason"].strip())
    for sql in sql_in(tree, lines, path):
        for comment in sql.comments():
            if match := EXCUSE.match(comment.group()):
                yield Excuse(sql.line_of(comment), match["word"], match["reason"].strip())
