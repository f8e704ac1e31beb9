"""Where callers of a tenant may be put through to, by name, each with its opening hours."""

import re
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import delete, literal_column, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime.ids import TenantId
from runtime.refusals import Invalid, NotFound
from tenants import audit, bounds, destinations, opening_hours
from tenants.destinations import Destination, StoredDestination
from tenants.hours import Hours
from tenants.tables import transfer_directory

NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 _-]{0,62}[A-Za-z0-9])?")
MOST_ENTRIES = 100  # every snapshot of the tenant carries them
LARGEST_HOURS = 4_096  # bytes of an entry's hours
entries = transfer_directory.c
CARRIED = (entries.destination, entries.message, entries.hours, entries.closed_message)  # by the snapshot, beside the name


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry as its tenant writes it; without `hours` the tenant's own hours hold."""

    name: str
    destination: Destination
    description: str
    message: str | None
    hours: Hours | None
    closed_message: str | None
    is_default: bool


class EntryView(msgspec.Struct, frozen=True):
    """An entry in the snapshot."""

    name: str
    destination: StoredDestination
    message: str | None = None
    hours: Hours | None = None
    closed_message: str | None = None
    is_default: bool = False


def refuse_impossible(name: str) -> None:
    """Refuse what cannot be an entry's name.

    Raises:
        NotFound: there is no such entry.
    """
    if not NAME.fullmatch(name):
        raise NotFound("entry")


async def put(connection: AsyncConnection, tenant: TenantId, wanted: Entry, actor: str) -> dict[str, Any]:
    """Create an entry or replace it; a new default takes the place of the old one.

    Raises:
        Invalid: it cannot work, or the tenant has too many.
    """
    if not NAME.fullmatch(wanted.name):
        raise Invalid.at("/name", "A name has 1 to 64 letters, digits, spaces, underscores and hyphens.")
    destinations.check(wanted.destination)
    hours = hours_of(wanted)
    await bounds.refuse_too_many(connection, tenant, bounds.Kind.ENTRIES, entries.name, wanted.name, MOST_ENTRIES, "entries")
    if wanted.is_default:
        others = (entries.tenant_id == tenant, entries.name != wanted.name, entries.is_default)
        await connection.execute(update(transfer_directory).where(*others).values(is_default=False, updated_at=text("app.now()")))
    values: dict[str, Any] = {
        "destination": msgspec.to_builtins(wanted.destination),
        "description": wanted.description,
        "message": wanted.message,
        "hours": None if hours is None else msgspec.to_builtins(hours),
        "closed_message": wanted.closed_message,
        "is_default": wanted.is_default,
    }
    query = (
        insert(transfer_directory)
        .values(tenant_id=tenant, name=wanted.name, **values)
        .on_conflict_do_update(index_elements=["tenant_id", "name"], set_={**values, "updated_at": text("app.now()")})
        .returning(*entries, literal_column("xmax = 0").label("created"))  # xmax is 0 where the row was inserted
    )
    row = dict((await connection.execute(query)).mappings().one())
    await bounds.refuse_too_large(connection, tenant, transfer_directory, CARRIED, "entries")
    action = "transfer_entry.created" if row.pop("created") else "transfer_entry.changed"
    await audit.record(connection, actor, action, tenant, wanted.name, to=wanted.destination.type, is_default=wanted.is_default)
    return row


def hours_of(wanted: Entry) -> Hours | None:
    """The hours of an entry; empty ones are none, as they are of the tenant itself.

    Raises:
        Invalid: they cannot be, or are too large.
    """
    if wanted.hours is None or wanted.hours == Hours():
        return None
    if len(msgspec.json.encode(wanted.hours)) > LARGEST_HOURS:
        raise Invalid.at("/hours", f"The hours of an entry have at most {LARGEST_HOURS:,} bytes.")
    opening_hours.check(wanted.hours, "/hours")
    return wanted.hours


async def entry(connection: AsyncConnection, tenant: TenantId, name: str) -> dict[str, Any]:
    """One entry.

    Raises:
        NotFound: the tenant has no such entry.
    """
    refuse_impossible(name)
    query = select(transfer_directory).where(entries.tenant_id == tenant, entries.name == name)
    found = (await connection.execute(query)).mappings().one_or_none()
    if found is None:
        raise NotFound("entry")
    return dict(found)


async def list_entries(connection: AsyncConnection, tenant: TenantId, after: str | None, limit: int) -> list[dict[str, Any]]:
    """A tenant's entries by name."""
    query = select(transfer_directory).where(entries.tenant_id == tenant).order_by(entries.name).limit(limit)
    if after is not None:
        query = query.where(entries.name > after)
    return [dict(row) for row in (await connection.execute(query)).mappings()]


async def remove(connection: AsyncConnection, tenant: TenantId, name: str, actor: str) -> None:
    """Forget an entry.

    Raises:
        NotFound: the tenant has no such entry.
    """
    await entry(connection, tenant, name)
    await connection.execute(delete(transfer_directory).where(entries.tenant_id == tenant, entries.name == name))
    await audit.record(connection, actor, "transfer_entry.removed", tenant, name)
