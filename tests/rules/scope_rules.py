"""Rules about whose rows a connection reaches: row security refuses at run time, these refuse in review."""

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from tests.rules.sql_text import sql_in
from tests.rules.syntax import Finding, every_node, last_name, origins, stands_in

SCOPE_EXEMPT = {
    "tests/": "they look at the effects from outside every scope, as the owner too",
    "benchmarks/": "they fill and measure a database of their own",
    "trunkline/dev/": "it creates roles and database, before a tenant exists",
    "migrations/env.py": "the schema belongs to all tenants; the owner role migrates it",
}
SESSION_EXEMPT = {"tests/": "they set the scope wrongly on purpose, to see it refused"}

NAMED = re.compile(r"(?:^|_)(?:engine|pool)s?(?:_|$)", re.IGNORECASE)
TYPED = frozenset({"AsyncEngine", "Engine", "Pool"})
MAKERS = frozenset({"create_engine", "create_async_engine", "create_pool"})
OPENERS = frozenset({"begin", "connect", "acquire", "raw_connection", "fetch", "fetchrow", "fetchval", "execute", "executemany"})
OPENING_CALLS = frozenset(
    {"asyncpg.connect", "psycopg.connect", "sqlalchemy.orm.Session", "sqlalchemy.ext.asyncio.AsyncSession"}
    | {"sqlalchemy.orm.sessionmaker", "sqlalchemy.ext.asyncio.async_sessionmaker"}
)
ADVICE = "use tenant_scope(tenant_id), or end the line with '# unscoped: <reason>'"

SETS_TENANT = re.compile(r"\bSET\s+(?:SESSION\s+|LOCAL\s+)?app\.tenant_id\b", re.IGNORECASE)
SETS_SESSION = re.compile(r"\bSET\s+SESSION\s+(?!app\.tenant_id)\w", re.IGNORECASE)
SET_CONFIG = re.compile(r"\bset_config\s*\((?P<arguments>(?:[^()']|'[^']*'|\((?:[^()]|\([^()]*\))*\))*)\)", re.IGNORECASE)
OTHER_SETTING = re.compile(r"\s*'(?!app\.tenant_id')[^']*'")
LOCALLY = re.compile(r",\s*true\s*\Z", re.IGNORECASE)


def scope(tree: ast.Module, _lines: Sequence[str], path: PurePosixPath) -> Iterator[Finding]:
    """Queries run inside tenant_scope(): a connection that never set a tenant is caught in review, not by a customer."""
    if stands_in(path, SCOPE_EXEMPT):
        return
    engines = names_of_engines(tree)
    for node in every_node(tree):
        if isinstance(node, ast.Attribute) and node.attr in OPENERS:
            owner = owner_of(node)
            if NAMED.search(owner) or owner in engines:
                yield node.end_lineno or node.lineno, f"{owner}.{node.attr} leaves every tenant's scope; {ADVICE}"
        elif isinstance(node, ast.Call):
            opened = origins(tree, node.func)
            name = last_name(node.func)
            if opened & OPENING_CALLS or name == "unscoped" or any(origin.endswith(".unscoped") for origin in opened):
                yield node.func.end_lineno or node.lineno, f"{name}() leaves every tenant's scope; {ADVICE}"


def owner_of(method: ast.Attribute) -> str:
    """The name whose method it is; an engine with options is still that engine."""
    owner = method.value
    while isinstance(owner, ast.Call) and isinstance(owner.func, ast.Attribute) and owner.func.attr == "execution_options":
        owner = owner.func.value
    return last_name(owner)


def names_of_engines(tree: ast.Module) -> frozenset[str]:
    """Names that hold an engine or a pool under another name: by the call that makes them or by their annotation."""
    names: set[str] = set()
    for node in every_node(tree):
        if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation and annotated(node.annotation) in TYPED:
            names.add(node.arg if isinstance(node, ast.arg) else last_name(node.target))
        elif isinstance(node, ast.Assign) and last_name(node.value) in MAKERS:
            names.update(map(last_name, node.targets))
        elif isinstance(node, ast.withitem) and node.optional_vars and last_name(node.context_expr) in MAKERS:
            names.add(last_name(node.optional_vars))
    return frozenset(names)


def annotated(annotation: ast.expr) -> str:
    """The last name of an annotation, quoted or not: `"asyncpg.Pool[asyncpg.Record]"` is `Pool`."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return annotation.value.partition("[")[0].rpartition(".")[2]
    return last_name(annotation)


def session_state(tree: ast.Module, lines: Sequence[str], path: PurePosixPath) -> Iterator[Finding]:
    """The tenant is set for one transaction only: a session-level setting passes to whoever gets the pooled connection next."""
    if stands_in(path, SESSION_EXEMPT):
        return
    for sql in sql_in(tree, lines, path):
        for match in SETS_TENANT.finditer(sql.code):
            yield sql.line_of(match), "set app.tenant_id with set_config('app.tenant_id', …, true), which ends with the transaction"
        for match in SETS_SESSION.finditer(sql.code):
            yield sql.line_of(match), "SET SESSION outlives the transaction on a pooled connection; use set_config(…, true)"
        for match in SET_CONFIG.finditer(sql.uncommented):
            if not OTHER_SETTING.match(match["arguments"]) and not LOCALLY.search(match["arguments"]):
                yield sql.line_of(match), "set_config must be local to the transaction: its third argument is the literal true"
    for node in every_node(tree):
        if isinstance(node, ast.Call) and last_name(node.func) == "set_config" and sets_tenant_for_longer(node):
            yield node.lineno, "set_config must be local to the transaction: its third argument is True"


def sets_tenant_for_longer(call: ast.Call) -> bool:
    """Whether a call of SQLAlchemy's func.set_config may set the tenant, and not clearly for the transaction only."""
    if not call.args:
        return False
    setting, local = call.args[0], call.args[-1]
    if isinstance(setting, ast.Constant) and setting.value != "app.tenant_id":
        return False
    return not (isinstance(local, ast.Constant) and local.value is True)
