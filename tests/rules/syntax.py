"""What the rules share: one walk per file, and what a name stands for behind imports and aliases."""

import ast
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import PurePosixPath

Finding = tuple[int, str]  # line, message
Check = Callable[[ast.Module, Sequence[str], PurePosixPath], Iterator[Finding]]


@lru_cache(maxsize=1)
def every_node(tree: ast.Module) -> tuple[ast.AST, ...]:
    """Every node of a file but Load, Store and Del; kept until the next file, because each rule asks for it."""
    return tuple(node for node in ast.walk(tree) if not isinstance(node, ast.expr_context))


@lru_cache(maxsize=1)
def imported(tree: ast.Module) -> Mapping[str, frozenset[str]]:
    """What each imported name stands for, dotted; two functions may import the same name differently, hence a set."""
    bound: defaultdict[str, set[str]] = defaultdict(set)
    for node in every_node(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                bound[alias.asname or top].add(alias.name if alias.asname else top)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                bound[alias.asname or alias.name].add(f"{node.module}.{alias.name}")
    return {name: frozenset(origins) for name, origins in bound.items()}


def dotted(node: ast.AST) -> str:
    """`a.b.c` as it is written, or "" for anything that is not a chain of names."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (front := dotted(node.value)):
        return f"{front}.{node.attr}"
    return ""


def origins(tree: ast.Module, node: ast.AST) -> frozenset[str]:
    """What a chain of names stands for once its imports are followed; empty when it starts at no import."""
    front = node
    while isinstance(front, ast.Attribute):
        front = front.value
    if not isinstance(front, ast.Name) or front.id not in imported(tree):
        return frozenset()
    rest = dotted(node)[len(front.id) :]
    return frozenset(origin + rest for origin in imported(tree)[front.id])


def last_name(node: ast.AST) -> str:
    """The last identifier of an expression, calls and indexes looked through: `self.pools[0]` and `pools()` are both `pools`."""
    while isinstance(node, ast.Call | ast.Subscript | ast.Await | ast.Starred):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.attr if isinstance(node, ast.Attribute) else dotted(node)


def stands_in(path: PurePosixPath, places: Iterable[str]) -> bool:
    """Whether a file is one of the places: a file's own path, or a directory ending in a slash."""
    return any(str(path) == place or (place.endswith("/") and str(path).startswith(place)) for place in places)
