"""How much of what a tenant configures its snapshot carries: processes read it every two seconds."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Column, Table, Text, cast, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime.ids import TenantId
from runtime.refusals import Invalid

LARGEST = 131_072  # bytes of one kind's rows together, in the columns that are carried


async def refuse_too_large(connection: AsyncConnection, tenant: TenantId, table: Table, carried: Sequence[Column[Any]], kind: str) -> None:
    """Refuse what was just written, in the transaction that wrote it, where all rows of the tenant together are too large.

    Raises:
        Invalid: they are.
    """
    size = func.sum(func.octet_length(func.concat(*(cast(column, Text) for column in carried))))
    query = select(size).select_from(table).where(table.c.tenant_id == tenant)
    if (await connection.execute(query)).scalar_one() > LARGEST:
        raise Invalid.at("", f"A tenant's {kind} have at most {LARGEST:,} bytes together; shorten or remove one first.")
