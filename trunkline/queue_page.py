"""`trunkline queue`: what waits, is on its way and has left, by tenant."""

from io import StringIO
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table
from sqlalchemy import text

from messaging.queue_statistics import TenantQueue, queues_of
from runtime.database import Database, open_database
from runtime.settings import Settings

WIDTH = 140
TENANTS = text("SELECT id, slug FROM control.tenants WHERE cast(:slug AS text) IS NULL OR slug = :slug ORDER BY id")
SUMMED = ("queued", "queued_segments", "sending", "unknown", "segments_left_last_hour")


class NoSuchTenant(LookupError):
    """Nobody has this slug."""


async def look(settings: Settings, slug: str | None, *, everybody: bool) -> dict[str, Any]:
    """{tenants: [the outbox of each that is not idle], total: {their sums, tenants}}.

    Raises:
        NoSuchTenant: nobody has this slug.
    """
    database = await open_database(settings.database_url, connections=2)
    try:
        slugs = await slugs_of(database, slug)
        queues = await queues_of(database, slugs)
    finally:
        await database.close()
    shown = [queue for queue in queues if everybody or slug is not None or not queue.is_idle]
    total: dict[str, int] = {name: sum(getattr(queue, name) for queue in queues) for name in SUMMED}
    return {"tenants": [msgspec.to_builtins(queue) for queue in shown], "total": {"tenants": len(slugs), **total}}


async def slugs_of(database: Database, slug: str | None) -> dict[Any, str]:
    """Slugs by id: of all tenants, or of the one that is named."""
    async with database.unscoped() as connection:  # unscoped: the list of tenants holds no rows of tenants
        slugs = {row.id: row.slug for row in await connection.execute(TENANTS, {"slug": slug})}
    if slug is not None and not slugs:
        raise NoSuchTenant(f"There is no tenant {slug}.")
    return slugs


def page(result: dict[str, Any]) -> str:
    """The same for people."""
    out = StringIO()
    console = Console(file=out, width=WIDTH, highlight=False)
    table = Table("tenant", box=None)
    for heading in ("queued", "segments", "sending", "unknown", "left in an hour"):
        table.add_column(heading, justify="right")
    table.add_column("first due")
    table.add_column("held")
    for queue in msgspec.convert(result["tenants"], list[TenantQueue]):
        counts = (queue.queued, queue.queued_segments, queue.sending, queue.unknown, queue.segments_left_last_hour)
        table.add_row(queue.slug, *(f"{count:,}" for count in counts), queue.oldest_due or "", queue.held or "")
    total = result["total"]
    table.add_section()
    who = "1 tenant" if total["tenants"] == 1 else f"{total['tenants']:,} tenants"
    table.add_row(who, *(f"{total[name]:,}" for name in SUMMED), "", "")
    console.print(table)
    return out.getvalue().rstrip()
