"""Registrations: what the carriers granted, which paces every sender that shares it."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime.ids import TenantId, uuid7
from tenants.tables import registrations, senders
from tenants.tiers import sender_tiers

MOVE_WAITING = text("SELECT app.move_waiting_v1(:tenant, :sender, :source, :target)")


@dataclass(frozen=True, slots=True)
class RegistrationRequest:
    """A registration as a sender declares it."""

    tier: str
    tier_source: str
    campaign_sid: str | None
    brand_sid: str | None


async def put_registration(
    connection: AsyncConnection, tenant: TenantId, wanted: RegistrationRequest, sender_id: UUID, current: UUID | None
) -> UUID:
    """The registration that the sender belongs to from now on: its campaign's, or its own; the tier becomes the one given.

    What still waits of the sender goes along, since two registrations would pace one number twice.
    """
    joined = await campaign_registration(connection, tenant, wanted.campaign_sid, sender_id, current)
    values: dict[str, Any] = {
        "tier": wanted.tier,
        "tier_source": wanted.tier_source,
        "segments_per_minute": sender_tiers()[wanted.tier].segments_per_minute,
        "brand_sid": wanted.brand_sid,
    }
    if wanted.campaign_sid:
        values["campaign_sid"] = wanted.campaign_sid
    if joined is None:
        joined = uuid7()
        await connection.execute(insert(registrations).values(tenant_id=tenant, id=joined, **values))
    else:
        renewed = update(registrations).where(registrations.c.tenant_id == tenant, registrations.c.id == joined)
        await connection.execute(renewed.values(**values, updated_at=text("app.now()")))
    if current is not None and current != joined:
        await connection.execute(MOVE_WAITING, {"tenant": tenant, "sender": sender_id, "source": current, "target": joined})
    return joined


async def campaign_registration(
    connection: AsyncConnection, tenant: TenantId, campaign_sid: str | None, sender_id: UUID, current: UUID | None
) -> UUID | None:
    """The registration to go on with; None where a new one is needed."""
    if campaign_sid is None:
        return current
    known = select(registrations.c.id).where(registrations.c.tenant_id == tenant, registrations.c.campaign_sid == campaign_sid)
    found: UUID | None = (await connection.execute(known)).scalar()
    if found is not None or current is None:
        return found
    others = select(senders.c.id).where(senders.c.tenant_id == tenant, senders.c.registration_id == current, senders.c.id != sender_id)
    unnamed = select(registrations.c.id).where(
        registrations.c.tenant_id == tenant, registrations.c.id == current, registrations.c.campaign_sid.is_(None), ~others.exists()
    )
    own: UUID | None = (await connection.execute(unnamed)).scalar()
    return own


async def cap_registrations(connection: AsyncConnection, tenant: TenantId, max_tier: str) -> None:
    """Slow down what is faster than the operator's cap; lifting the cap gives nothing back: the tenant declares its sender again."""
    most = sender_tiers()[max_tier].segments_per_minute
    faster = update(registrations).where(registrations.c.tenant_id == tenant, registrations.c.segments_per_minute > most)
    await connection.execute(faster.values(tier=max_tier, tier_source="capped", segments_per_minute=most, updated_at=text("app.now()")))
