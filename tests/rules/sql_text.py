"""The SQL of a file: string literals that read as SQL, or a whole *.sql file, with comments and quoted text blanked."""

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath

from tests.rules.syntax import every_node, last_name, stands_in

EXEMPT = {"tests/rules/": "the samples of these rules are SQL that must not be written elsewhere"}

STATEMENT = re.compile(
    r"""\s*\(*\s*(?:
        (?:SELECT|select|RETURNING|returning)\b
      | (?i:INSERT\s+INTO | DELETE\s+FROM | MERGE\s+INTO | UPDATE\s+(?:ONLY\s+)?[\w.{}"]+\s+(?:AS\s+)?(?:\w+\s+)?SET)\b
      | (?i:WITH\s+(?:RECURSIVE\s+)?[\w"]+\s*(?:\([^()]*\)\s*)?AS\b)
      | (?i:(?:CREATE|ALTER|DROP)\s+(?:OR\s+REPLACE\s+)?
            (?:TABLE|(?:UNIQUE\s+)?INDEX|FUNCTION|PROCEDURE|POLICY|TRIGGER|TYPE|ROLE|DATABASE|SCHEMA|(?:MATERIALIZED\s+)?VIEW|DOMAIN|SEQUENCE))\b
      | SET\s+(?:(?:LOCAL|SESSION)\b|\w+\.\w)
      | (?:WHERE|FROM|JOIN|AND|OR|ORDER\ BY|GROUP\ BY|VALUES|ON\ CONFLICT|DO\ UPDATE|DO\ \$|CALL|COPY|EXPLAIN|GRANT|BEGIN)\b
    )""",
    re.VERBOSE,
)
STARTS = re.compile(r"(?:\A|;|\n)" + STATEMENT.pattern, re.VERBOSE)
CLOCK_CALL = re.compile(r"(?<![\w.])(?:now|timeofday|(?:clock|statement|transaction)_timestamp)\(\)", re.IGNORECASE)
TAKES_SQL = frozenset({"text", "literal_column", "exec_driver_sql", "DDL"})

SEPARATE = re.compile(
    r"""(?P<comment> --[^\n]* | /\*.*?(?:\*/|\Z) )
      | (?P<quoted> \b[eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | "(?:[^"]|"")*" )
      | (?P<tag> \$(?:[A-Za-z_]\w*)?\$ ) (?P<body>.*?) (?P=tag)""",
    re.VERBOSE | re.DOTALL,
)
CLOCK_WORDS = frozenset({"now", "today", "tomorrow", "yesterday"})  # special inputs that PostgreSQL turns into an instant


@dataclass(frozen=True, slots=True)
class Sql:
    """One piece of SQL; `uncommented` and `code` have its length, so that an offset in one is an offset in all."""

    raw: str
    first_line: int
    last_line: int
    lines: Sequence[str]

    @property
    def uncommented(self) -> str:
        """Comments blanked, quoted text kept."""
        return blanked(self.raw, keep_quoted=True)

    @property
    def code(self) -> str:
        """Comments and the inside of quotes blanked, except quotes that hold a statement (a function's body, dynamic SQL)."""
        return blanked(self.raw, keep_quoted=False)

    def comments(self) -> Iterator[re.Match[str]]:
        """The `--` and `/* */` comments."""
        return (match for match in SEPARATE.finditer(self.raw) if match["comment"])

    def line_of(self, match: re.Match[str]) -> int:
        """The line of the file on which a match stands."""
        breaks = self.raw.count("\n", 0, match.start())
        if self.raw.count("\n") == self.last_line - self.first_line:  # written over lines as it reads
            return self.first_line + breaks
        words = self.raw[match.start() : match.end()]
        earlier = self.raw.count(words, 0, match.start())
        for number in range(self.first_line, self.last_line + 1):  # pieces side by side: find the line that shows the words
            earlier -= self.lines[number - 1].count(words)
            if earlier < 0:
                return number
        return min(self.first_line + breaks, self.last_line)


@lru_cache(maxsize=4096)
def blanked(text: str, *, keep_quoted: bool) -> str:
    """The text with comments, and unless kept the inside of quotes, turned to blanks of equal length."""

    def blank(match: re.Match[str]) -> str:
        whole = match.group()
        if match["tag"]:
            return match["tag"] + blanked(match["body"], keep_quoted=keep_quoted) + match["tag"]
        if match["comment"]:
            return re.sub(r"[^\n]", " ", whole)
        inside = whole[1:-1]
        if keep_quoted or inside.lower() in CLOCK_WORDS:
            return whole
        if whole.startswith("'") and STATEMENT.match(inside):
            return "'" + blanked(inside, keep_quoted=False) + "'"
        return whole[0] + re.sub(r"[^\n]", " ", inside) + whole[-1]

    return SEPARATE.sub(blank, text)


@lru_cache(maxsize=1)
def pieces(tree: ast.Module, path: PurePosixPath) -> tuple[tuple[str, int, int], ...]:
    """The literals that read as SQL, with their first and last line; kept for the next rule."""
    if path.suffix == ".sql":
        return tuple((literal(node), 1, node.end_lineno or 1) for node in every_node(tree) if isinstance(node, ast.Constant))
    inner: set[int] = set()  # docstrings, and the parts of an f-string, which is read as a whole
    given_as_sql: set[int] = set()
    found = []
    for node in every_node(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            inner.add(id(node.value))
        elif isinstance(node, ast.Call) and last_name(node.func) in TAKES_SQL:
            given_as_sql.update(map(id, node.args))
        elif isinstance(node, ast.JoinedStr):
            inner.update(map(id, ast.walk(node)))
    for node in every_node(tree):
        if not isinstance(node, ast.JoinedStr | ast.Constant) or (isinstance(node, ast.Constant) and id(node) in inner):
            continue
        text = literal(node)
        if text and (id(node) in given_as_sql or STARTS.search(text) or CLOCK_CALL.search(text)):
            found.append((text, node.lineno, node.end_lineno or node.lineno))
    return tuple(found)


def literal(node: ast.AST) -> str:
    """The text of a string literal; what an f-string fills in reads as the name `_`."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(literal(part) if isinstance(part, ast.Constant) else "_" for part in node.values)
    return ""


def sql_in(tree: ast.Module, lines: Sequence[str], path: PurePosixPath) -> Iterator[Sql]:
    """Every piece of SQL of a file."""
    if not stands_in(path, EXEMPT):
        for text, first, last in pieces(tree, path):
            yield Sql(text, first, last, lines)
