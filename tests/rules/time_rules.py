"""Rules about time: a test travels it only if nobody reads a clock of his own."""

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from tests.rules.sql_text import sql_in
from tests.rules.syntax import Finding, dotted, every_node, last_name, origins, stands_in

TIME_EXEMPT = {
    "runtime/clock.py": "the one place that reads a clock for everybody",
    "tests/": "they measure how long real servers take",
    "benchmarks/": "they measure, and travel nowhere",
    "sandbox/": "it stands apart: a provider's clock is its own",
}
SQL_TIME_EXEMPT = {"benchmarks/": "pgbench scripts and other people's schemas have no app.now()"}
MONOTONIC_ONLY = "trunkline/dev/"  # it waits for servers to start, before any clock exists

READS = frozenset(
    {f"datetime.datetime.{name}" for name in ("now", "utcnow", "today")}
    | {"datetime.date.today", "uuid.uuid1", "uuid.uuid6", "uuid.uuid7"}
    | {f"time.{name}{unit}" for name in ("time", "monotonic", "perf_counter", "clock_gettime") for unit in ("", "_ns")}
)
READS_UNLESS_TOLD = {
    "time.localtime": 0,
    "time.gmtime": 0,
    "time.ctime": 0,
    "time.asctime": 0,
    "time.strftime": 1,
}  # arguments before the time

WORDS = "current_timestamp|current_date|current_time|localtimestamp|localtime"
CALLS = "now|timeofday|clock_timestamp|statement_timestamp|transaction_timestamp"
SQL_CLOCK = re.compile(
    rf"""(?<![\w.:$"])(?:pg_catalog\.)?(?:{CALLS})\s*\(
       | (?<![\w.:$"])(?:{WORDS})\b(?!\s*\.)
       | '(?:now|today|tomorrow|yesterday)'\s*::\s*(?:timestamp|date|time)
       | \bcast\s*\(\s*'(?:now|today|tomorrow|yesterday)'\s+as\s+(?:timestamp|date|time)
       | \b(?:timestamp(?:tz)?|date|timetz?)\s+'(?:now|today|tomorrow|yesterday)'""",
    re.VERBOSE | re.IGNORECASE,
)
FUNC_CLOCK = re.compile(rf"(?:^|\.)(?:func(?:\.pg_catalog)?|sqlalchemy\.sql\.functions)\.(?:{CALLS}|{WORDS})$", re.IGNORECASE)


def python_time(tree: ast.Module, _lines: Sequence[str], path: PurePosixPath) -> Iterator[Finding]:
    """Python reads the time through runtime/clock.py only, so that a midnight or a year is travelled in a test, not slept."""
    if stands_in(path, TIME_EXEMPT):
        return
    allowed = {"time.monotonic", "time.monotonic_ns"} if stands_in(path, [MONOTONIC_ONLY]) else set()
    for node in every_node(tree):
        if isinstance(node, ast.Name | ast.Attribute):
            for read in (origins(tree, node) & READS) - allowed:
                yield node.lineno, f"{read} reads a clock; use now() or monotonic() of runtime.clock"
        elif isinstance(node, ast.Call):
            yield from clock_calls(tree, node)


def clock_calls(tree: ast.Module, call: ast.Call) -> Iterator[Finding]:
    """Calls that read a clock only in some form: without a time to convert, or on an event loop."""
    told = [argument for argument in call.args if not (isinstance(argument, ast.Constant) and argument.value is None)]
    for name in origins(tree, call.func) & READS_UNLESS_TOLD.keys():
        if len(told) <= READS_UNLESS_TOLD[name] and not any(isinstance(argument, ast.Starred) for argument in told):
            yield call.lineno, f"{name} without a time reads a clock; give it one from runtime.clock"
    if isinstance(call.func, ast.Attribute) and call.func.attr == "time" and re.search(r"(^|_)loop$", last_name(call.func.value)):
        yield call.lineno, "an event loop's time() is a clock; use monotonic() of runtime.clock"


def sql_time(tree: ast.Module, lines: Sequence[str], path: PurePosixPath) -> Iterator[Finding]:
    """SQL takes the time from app.now() only, which a test replaces; the one line that defines it says `clock: <reason>`."""
    if stands_in(path, SQL_TIME_EXEMPT):
        return
    for sql in sql_in(tree, lines, path):
        for match in SQL_CLOCK.finditer(sql.code):
            yield sql.line_of(match), f"{' '.join(match.group().split()).rstrip(' (')} reads a clock; use app.now()"
    for node in every_node(tree):
        if isinstance(node, ast.Attribute | ast.Name) and any(map(FUNC_CLOCK.search, origins(tree, node) or [dotted(node)])):
            yield node.lineno, f"{dotted(node)} reads a clock; use func.app.now()"
