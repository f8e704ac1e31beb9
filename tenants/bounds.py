"""How much a tenant may configure: its snapshot carries it, and processes read that every two seconds.

Whoever counts before it writes takes a turn first: a tenant's changes of one kind wait for each other, and for no other kind.
"""

from collections.abc import Sequence
from enum import IntEnum, unique
from typing import Any

from sqlalchemy import Column, Table, Text, cast, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime.ids import TenantId
from runtime.refusals import Invalid

LARGEST = 131_072  # bytes of one kind's rows together, in the columns that are carried
LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(:tenant, :kind))")


@unique
class Kind(IntEnum):
    """What a tenant's changes of wait for each other; the number is the lock's."""

    SENDERS = 1
    TOOLS = 2
    ROUTES = 3
    ENTRIES = 4
    CREDENTIALS = 5


async def take_turn(connection: AsyncConnection, tenant: TenantId, kind: Kind) -> None:
    """Wait until nobody else changes this kind; what they did is seen, and they wait until this transaction ends."""
    await connection.execute(LOCK, {"tenant": str(tenant), "kind": kind.value})


async def refuse_too_many(
    connection: AsyncConnection, tenant: TenantId, kind: Kind, named: Column[Any], name: str, most: int, words: str
) -> None:
    """Refuse one more row, unless it takes the place of the one of that name (a value of the column `named`).

    Raises:
        Invalid: the tenant has as many as it may.
    """
    await take_turn(connection, tenant, kind)
    query = select(func.count()).select_from(named.table).where(named.table.c.tenant_id == tenant, named != name)
    if (await connection.execute(query)).scalar_one() >= most:
        raise Invalid.at(f"/{named.name}", f"A tenant has at most {most} {words}; remove one first.")


async def refuse_too_large(connection: AsyncConnection, tenant: TenantId, table: Table, carried: Sequence[Column[Any]], words: str) -> None:
    """Refuse what was just written, in the transaction that wrote it, where all rows of the tenant together are too large.

    Raises:
        Invalid: they are.
    """
    size = func.sum(func.octet_length(func.concat(*(cast(column, Text) for column in carried))))
    query = select(size).select_from(table).where(table.c.tenant_id == tenant)
    if (await connection.execute(query)).scalar_one() > LARGEST:
        raise Invalid.at("", f"A tenant's {words} have at most {LARGEST:,} bytes together; shorten or remove one first.")
