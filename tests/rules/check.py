"""The project's own rules: `python tests/rules/check.py [--json] [paths…]` prints each finding and exits with 1 if there is one."""

import argparse
import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

HOUSE = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(HOUSE))  # commands run with the safe path on, which leaves it out

from tests.rules import answer_rules, scope_rules, text_rules, time_rules  # noqa: E402  the line above makes them importable
from tests.rules.excuses import excuses  # noqa: E402  the same
from tests.rules.syntax import Check  # noqa: E402  the same


@dataclass(frozen=True, slots=True)
class Rule:
    """A check by its name, and the word of the comment that excuses a line from it, if any does."""

    name: str
    check: Check
    excuse: str | None = None


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One finding in one file."""

    path: str
    line: int
    rule: str
    message: str


OWN_GIT = {
    name: value for name, value in os.environ.items() if not name.startswith("GIT_")
}  # a commit hook's would name another repository

RULES = (
    Rule("python-time", time_rules.python_time),
    Rule("sql-time", time_rules.sql_time, excuse="clock"),
    Rule("scope", scope_rules.scope, excuse="unscoped"),
    Rule("session-state", scope_rules.session_state),
    Rule("error-returned", answer_rules.error_returned),
    Rule("select-star", answer_rules.select_star),
    Rule("forbidden-words", text_rules.forbidden_words),
    Rule("file-length", text_rules.file_length),
)


def problems_in(path: PurePosixPath, text: str) -> Iterator[Problem]:
    """What the rules find in one file; `path` is relative to the house, because exemptions are places in it."""
    lines = text.removesuffix("\n").split("\n")  # as Python counts them
    try:
        tree = parsed(path, text)
    except SyntaxError as error:
        yield Problem(str(path), error.lineno or 1, "syntax", error.msg)
        return
    given = {(excuse.line, excuse.word): excuse.reason for excuse in excuses(tree, lines, path)}
    used = set()
    for rule in RULES:
        for line, message in rule.check(tree, lines, path):
            if rule.excuse and (line, rule.excuse) in given:
                used.add((line, rule.excuse))
            else:
                yield Problem(str(path), line, rule.name, message)
    for (line, word), reason in given.items():
        if not reason:
            yield Problem(str(path), line, "excuse", f"'{word}:' needs a reason")
        elif (line, word) not in used:
            yield Problem(str(path), line, "excuse", f"'{word}:' excuses nothing on this line; remove it")


def parsed(path: PurePosixPath, text: str) -> ast.Module:
    """A file as the rules see it: Python parsed, a *.sql file as one literal, any other text as an empty module."""
    if path.suffix == ".py":
        return ast.parse(text)
    body: list[ast.stmt] = []
    if path.suffix == ".sql":
        whole = ast.Constant(text, lineno=1, col_offset=0, end_lineno=1 + text.count("\n"), end_col_offset=0)
        body.append(ast.Expr(whole, lineno=1, col_offset=0))
    return ast.Module(body, [])


def files_of(house: Path) -> Iterator[Path]:
    """The files of a house that are committed or would be."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],  # noqa: S607  the git of whoever commits
        cwd=house,
        env=OWN_GIT,
        capture_output=True,
        check=True,
        text=True,
    )
    names = sorted(set(listed.stdout.split("\0")) - {""})
    return (house / name for name in names if (house / name).is_file())


def problems_of(house: Path, wanted: Iterable[Path] = ()) -> list[Problem]:
    """What the rules find in a house, or below the wanted files and directories of it."""
    chosen = [path.resolve() for path in wanted]
    found: list[Problem] = []
    for file in files_of(house):
        if chosen and not any(file.is_relative_to(path) for path in chosen):
            continue
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # an image or a font
        found += problems_in(PurePosixPath(file.relative_to(house).as_posix()), text)
    return sorted(found)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what is found; 1 if anything is."""
    parser = argparse.ArgumentParser(description="Check the project's own rules.")
    parser.add_argument("paths", nargs="*", type=Path, help="files or directories; without any, everything")
    parser.add_argument("--json", action="store_true", help="print one JSON array of {path, line, rule, message}")
    parser.add_argument("--house", type=Path, default=HOUSE, help="the repository to check (default: the one this file is in)")
    options = parser.parse_args(arguments)
    found = problems_of(options.house.resolve(), options.paths)
    if options.json:
        print(json.dumps([asdict(problem) for problem in found], indent=2))  # noqa: T201  a program's output
    else:
        for problem in found:
            print(f"{problem.path}:{problem.line}: {problem.rule}: {problem.message}")  # noqa: T201  a program's output
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
