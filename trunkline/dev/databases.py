from collections.abc import Mapping
from typing import NamedTuple

import asyncpg


class DatabaseUrls(NamedTuple):
    """`postgresql://role:password@127.0.0.1:port/database`, for migrations and for the application."""

    owner_url: str
    app_url: str


async def ensure_owner_and_database(
    connection: asyncpg.Connection, database: str, owner: str, app: str, passwords: Mapping[str, str]
) -> None:
    """Makes the role that owns the database and the role of the application, which owns nothing and obeys row security.

    `connection` is a superuser's; `passwords` has one for each role and is set anew each time.
    """
    await _ensure_role(connection, owner, passwords[owner], "CREATEROLE")
    # Made by the owner: from PostgreSQL 16 on, only a role's creator may administer it, as the migrations do.
    await connection.execute(f"SET ROLE {_identifier(owner)}")
    await _ensure_role(connection, app, passwords[app], "NOCREATEROLE")
    await connection.execute("RESET ROLE")
    if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", database):
        await connection.execute(f"CREATE DATABASE {_identifier(database)} OWNER {_identifier(owner)}")
        await connection.execute(f"REVOKE ALL ON DATABASE {_identifier(database)} FROM PUBLIC")
        await connection.execute(f"GRANT CONNECT ON DATABASE {_identifier(database)} TO {_identifier(app)}")


async def _ensure_role(connection: asyncpg.Connection, role: str, password: str, roles: str) -> None:
    verb = "ALTER" if await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", role) else "CREATE"
    secret = await connection.fetchval("SELECT quote_literal($1)", password)
    await connection.execute(f"{verb} ROLE {_identifier(role)} LOGIN {roles} PASSWORD {secret}")


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
