"""Rules about what comes back: from a handler, and from a query."""

import ast
import re
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from pathlib import PurePosixPath

from tests.rules.sql_text import sql_in
from tests.rules.syntax import Finding, every_node, last_name, stands_in

STAR_EXEMPT = {
    "tests/": "they compare whole rows, new columns included",
    "benchmarks/": "they count rows and throw them away",
}
FIRST_ERROR = 400
STATUS_NAME = re.compile(r"HTTP_([45]\d\d)(?:_|$)")
STAR = re.compile(
    r"""(?:\b(?:SELECT|RETURNING|DISTINCT)\b|,|\bDISTINCT\s+ON\s*\([^()]*\))\s*(?:(?:\w+|"[^"]*")\s*\.\s*)*\*""",
    re.IGNORECASE,
)


def error_returned(tree: ast.Module, _lines: Sequence[str], path: PurePosixPath) -> Iterator[Finding]:
    """Errors are raised, never returned: returning commits, so a returned 409 would keep its half-done rows."""
    if not stands_in(path, ["api/"]) or stands_in(path, ["api/problems.py"]):
        return
    for node in every_node(tree):
        if isinstance(node, ast.Call) and last_name(node.func).endswith("Response"):
            given = [keyword.value for keyword in node.keywords if keyword.arg == "status_code"]
        elif isinstance(node, ast.Assign) and any(last_name(target) == "status_code" for target in node.targets):
            given = [node.value]
        else:
            continue
        for status in sorted({status for value in given for part in ast.walk(value) for status in error_status(part)}):
            yield node.lineno, f"status {status} is returned; raise an HTTPException, api/problems.py answers"


def error_status(node: ast.AST) -> Iterator[int]:
    """The error status that a literal or a constant's name stands for, if it is one."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int) and node.value >= FIRST_ERROR:
        yield node.value
    name = last_name(node) if isinstance(node, ast.Name | ast.Attribute) else ""
    if match := STATUS_NAME.search(name):
        yield int(match[1])
    elif name in HTTPStatus.__members__ and HTTPStatus[name] >= FIRST_ERROR:
        yield int(HTTPStatus[name])


def select_star(tree: ast.Module, lines: Sequence[str], path: PurePosixPath) -> Iterator[Finding]:
    """Columns are named: the schema of the next release may have more, and the code of this one must still run on it."""
    if stands_in(path, STAR_EXEMPT):
        return
    for sql in sql_in(tree, lines, path):
        for match in STAR.finditer(sql.code):
            yield sql.line_of(match), "name the columns instead of *"
