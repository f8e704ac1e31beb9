"""Registrations: what the carriers granted, which paces every sender that shares it."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime.ids import TenantId, uuid7
from runtime.refusals import Invalid, NotFound
from tenants import audit
from tenants.own_tiers import held_tiers, look_again, settle
from tenants.tables import registrations, senders

MOVE_WAITING = text("SELECT app.move_waiting_v1(:tenant, :sender, :source, :target)")


REGISTRATIONS_SHOWN = (
    registrations.c.id,
    registrations.c.tier,
    registrations.c.tier_source,
    registrations.c.segments_per_minute,
    registrations.c.claimed_tier,
    registrations.c.campaign_sid,
    registrations.c.brand_sid,
    registrations.c.override_per_minute,
    registrations.c.override_day_cap,
    registrations.c.override_note,
    registrations.c.updated_at,
)


@dataclass(frozen=True, slots=True)
class RegistrationRequest:
    """A registration as a sender declares it: what it claims, which a cap may lower and an override replaces."""

    tier: str
    tier_source: str
    campaign_sid: str | None
    brand_sid: str | None


@dataclass(frozen=True, slots=True)
class Override:
    """What the operator grants one registration in place of its tier's; None leaves that part to the tier."""

    per_minute: int | None
    day_cap: int | None
    note: str


async def put_registration(
    connection: AsyncConnection, tenant: TenantId, wanted: RegistrationRequest, sender_id: UUID, current: UUID | None, actor: str
) -> UUID:
    """The registration that the sender belongs to from now on: its campaign's, or its own; it claims the tier given.

    What still waits of the sender goes along, since two registrations would pace one number twice.

    Raises:
        Invalid: no SMS sender can have that tier.
    """
    known = await held_tiers(connection, tenant)
    if wanted.tier not in known:
        raise Invalid.at("/tier", f"Name the registration's tier: {', '.join(known)}.")
    joined = await campaign_registration(connection, tenant, wanted.campaign_sid, sender_id, current)
    values: dict[str, Any] = {"claimed_tier": wanted.tier, "claimed_source": wanted.tier_source, "brand_sid": wanted.brand_sid}
    if wanted.campaign_sid:
        values["campaign_sid"] = wanted.campaign_sid
    if joined is None:
        joined = uuid7()
        granted = {"tier": wanted.tier, "tier_source": wanted.tier_source, "segments_per_minute": known[wanted.tier].segments_per_minute}
        await connection.execute(insert(registrations).values(tenant_id=tenant, id=joined, **granted, **values))
    else:
        renewed = update(registrations).where(registrations.c.tenant_id == tenant, registrations.c.id == joined)
        await connection.execute(renewed.values(**values, updated_at=text("app.now()")))
    await settle(connection, [tenant], actor)  # before messages are held: whoever holds one never asks for a row of the schedule
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


async def list_registrations(connection: AsyncConnection, tenant: TenantId) -> list[dict[str, Any]]:
    """A tenant's registrations: what they claim, what they get and why, and the senders that share them."""
    query = select(*REGISTRATIONS_SHOWN).where(registrations.c.tenant_id == tenant).order_by(registrations.c.id)
    found = [dict(row) for row in (await connection.execute(query)).mappings()]
    sharing = select(senders.c.registration_id, senders.c.id).where(senders.c.tenant_id == tenant).order_by(senders.c.id)
    of: dict[UUID, list[UUID]] = {}
    for registration, sender in (await connection.execute(sharing)).all():
        of.setdefault(registration, []).append(sender)
    return [{**row, "senders": of.get(row["id"], [])} for row in found]


async def override_registration(connection: AsyncConnection, tenant: TenantId, registration_id: UUID, wanted: Override, actor: str) -> None:
    """Grant one registration what the operator says, over its tier and over the tenant's cap, or leave it to its tier again.

    Raises:
        NotFound: the tenant has no such registration.
    """
    await held_tiers(connection, tenant)
    values = {"override_per_minute": wanted.per_minute, "override_day_cap": wanted.day_cap, "override_note": wanted.note or None}
    row = update(registrations).where(registrations.c.tenant_id == tenant, registrations.c.id == registration_id)
    if (await connection.execute(row.values(**values, updated_at=text("app.now()")))).rowcount == 0:
        raise NotFound("registration")
    detail = {"segments_per_minute": wanted.per_minute, "day_cap": wanted.day_cap, "note": wanted.note}
    await audit.record(connection, actor, "registration.overridden", tenant, str(registration_id), **detail)
    await settle(connection, [tenant], actor)
    await look_again(connection, [(tenant, registration_id)])  # also where only the cap of its day changed
