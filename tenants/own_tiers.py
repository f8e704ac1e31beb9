"""Tiers that the operator defined, and the settling of registrations when a tier, a cap or a claim changes.

The order of locks stands in migrations/sql/0005/30_tiers.sql: the tenant's row, the tiers, registrations, the schedule.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import func, insert, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime.refusals import Conflict, Invalid, NotFound
from tenants import audit
from tenants.tables import own_tiers, tenants
from tenants.tiers import OwnTier, Tier, is_built_in, sender_tiers

TENANTS_AT_ONCE = 200
FASTEST = 60_000  # segments per minute: 1,000 per second, over four times what any registration with Twilio gets

SETTLE = text(
    "SELECT tenant_id, registration_id, tier, tier_source, per_minute"
    " FROM app.settle_registrations_v1(:tenants, CAST(:builtin AS jsonb), :changed)"
)
LOOK_AGAIN = text("SELECT app.look_again_v1(:tenants, :registrations)")
USES = text("SELECT tenant_id, registrations, named FROM app.tier_uses_v1(:name, :tenants)")


class TierTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator defines; of the two rates at least one, and the stricter holds."""

    description: str
    segments_per_second: Decimal | None
    segments_per_minute: int | None
    day_cap: int | None
    day_cap_scope: str | None
    blocked_destinations: tuple[str, ...]


def effective_rate(per_second: Decimal | None, per_minute: int | None) -> int:
    """The stricter of the two in whole segments per minute, as the pacer takes it.

    Raises:
        Invalid: neither is given, or the rate is not within what can be paced.
    """
    rates = [] if per_second is None else [int(per_second * 60)]
    rates += [] if per_minute is None else [per_minute]
    if not rates:
        raise Invalid.at("/segments_per_second", "Give segments_per_second, segments_per_minute, or both: the stricter holds.")
    if not 1 <= min(rates) <= FASTEST:
        where = "/segments_per_second" if per_second is not None else "/segments_per_minute"
        raise Invalid.at(where, f"A rate is at least one segment per minute and at most {FASTEST:,}.")
    return min(rates)


async def known_tiers(connection: AsyncConnection) -> Mapping[str, Tier]:
    """Every tier that an SMS sender can have, by name: the built-in ones and the operator's."""
    return {**sender_tiers(), **{row["name"]: facts(row) for row in await list_own(connection)}}


async def held_tiers(connection: AsyncConnection, tenant: UUID) -> Mapping[str, Tier]:
    """As known_tiers, and neither they nor the tenant's caps change until this transaction ends: before a registration is settled."""
    await connection.execute(select(tenants.c.id).where(tenants.c.id == tenant).with_for_update(read=True))
    await connection.execute(select(own_tiers.c.name).order_by(own_tiers.c.name).with_for_update(read=True))
    return await known_tiers(connection)


async def list_own(connection: AsyncConnection) -> list[dict[str, Any]]:
    """The operator's tiers that are not retired, in order of name."""
    query = select(own_tiers).where(own_tiers.c.retired_at.is_(None)).order_by(own_tiers.c.name)
    return [dict(row) for row in (await connection.execute(query)).mappings()]


def facts(row: Mapping[str, Any]) -> Tier:
    """What a row grants."""
    caps = row["day_cap"], row["day_cap_scope"]
    return OwnTier(row["name"], row["description"], row["per_minute"], *caps, tuple(row["blocked_destinations"])).facts


async def make_tier(connection: AsyncConnection, name: str, terms: TierTerms, actor: str) -> None:
    """Define one.

    Raises:
        Conflict: a tier has or had that name. Invalid: its rate cannot be paced.
    """
    effective_rate(terms.segments_per_second, terms.segments_per_minute)
    if is_built_in(name):
        raise Conflict(f"The tier {name} is built in; give yours another name.")
    try:
        async with connection.begin_nested():
            await connection.execute(insert(own_tiers).values(name=name, **values(terms)))
    except IntegrityError as error:
        raise Conflict(f"The name {name} is or was another tier's; names are never used again.") from error
    await audit.record(connection, actor, "tier.created", None, name, **noted(terms))


async def change_tier(connection: AsyncConnection, name: str, terms: TierTerms, actor: str) -> None:
    """Put new terms in force: every registration that has this tier, or is capped to it, follows in the same transaction.

    Raises:
        NotFound: there is no such tier of the operator's. Invalid: its rate cannot be paced.
    """
    effective_rate(terms.segments_per_second, terms.segments_per_minute)
    await own_row(connection, name)
    changed = update(own_tiers).where(own_tiers.c.name == name).values(**values(terms), updated_at=func.app.now())
    await connection.execute(changed)
    await audit.record(connection, actor, "tier.changed", None, name, **noted(terms))
    await settle(connection, [tenant for tenant, _ in await uses(connection, name)], actor, name)


async def retire_tier(connection: AsyncConnection, name: str, actor: str) -> None:
    """Nobody may be given it any more.

    Raises:
        NotFound: there is no such tier of the operator's. Conflict: it is in use.
    """
    await own_row(connection, name)
    found = await uses(connection, name)
    if found:
        count = sum(registrations for _, registrations in found)
        words = f"{count} registration{'' if count == 1 else 's'} of {len(found)} tenant{'' if len(found) == 1 else 's'}"
        raise Conflict(f"The tier {name} is in use by {words}, the caps of tenants included; give them another one first.")
    await connection.execute(update(own_tiers).where(own_tiers.c.name == name).values(retired_at=func.app.now()))
    await audit.record(connection, actor, "tier.retired", None, name)


async def own_row(connection: AsyncConnection, name: str) -> dict[str, Any]:
    """One tier of the operator's, held alone with all others: nobody settles a registration until this transaction ends.

    Raises:
        NotFound: there is none of that name, or it was retired.
    """
    await connection.execute(select(own_tiers.c.name).order_by(own_tiers.c.name).with_for_update())
    query = select(own_tiers).where(own_tiers.c.name == name, own_tiers.c.retired_at.is_(None))
    found = (await connection.execute(query)).mappings().one_or_none()
    if found is None:
        raise NotFound("tier")
    return dict(found)


async def uses(connection: AsyncConnection, name: str) -> list[tuple[UUID, int]]:
    """The tenants that a tier matters to, each with how many of its registrations claim or have it."""
    everybody = (await connection.execute(select(tenants.c.id).order_by(tenants.c.id))).scalars().all()
    found = []
    for start in range(0, len(everybody), TENANTS_AT_ONCE):
        rows = (await connection.execute(USES, {"name": name, "tenants": everybody[start : start + TENANTS_AT_ONCE]})).all()
        found += [(tenant, registrations) for tenant, registrations, named in rows if registrations or named]
    return found


async def settle(connection: AsyncConnection, wanted: Sequence[UUID], actor: str, tier_changed: str | None = None) -> None:
    """Give the registrations of these tenants what holds for them now; queued texts follow at the dispatcher's next look, which is at once.

    `tier_changed`: whoever has this tier is looked at even where its rate stayed, since the cap of its day may have changed.

    The transaction holds the tiers (held_tiers or own_row), and no message.
    """
    builtin = msgspec.json.encode({name: row.segments_per_minute for name, row in sender_tiers().items()}).decode()
    changed: list[tuple[UUID, UUID]] = []
    ordered = sorted(wanted)
    for start in range(0, len(ordered), TENANTS_AT_ONCE):
        some = ordered[start : start + TENANTS_AT_ONCE]
        settled = await connection.execute(SETTLE, {"tenants": some, "builtin": builtin, "changed": tier_changed})
        for tenant, registration, tier, source, rate in settled.all():
            changed.append((tenant, registration))
            detail = {"tier": tier, "tier_source": source, "segments_per_minute": rate}
            await audit.record(connection, actor, "registration.settled", tenant, str(registration), **detail)
    if changed:
        await look_again(connection, changed)


async def look_again(connection: AsyncConnection, changed: Sequence[tuple[UUID, UUID]]) -> None:
    """Have the dispatcher look at these (tenant, registration) at once; the last thing that a transaction does, since it waits for them."""
    await connection.execute(LOOK_AGAIN, {"tenants": [each[0] for each in changed], "registrations": [each[1] for each in changed]})


def values(terms: TierTerms) -> dict[str, Any]:
    """The columns of a tier."""
    return {**msgspec.structs.asdict(terms), "blocked_destinations": sorted(set(terms.blocked_destinations))}


def noted(terms: TierTerms) -> dict[str, Any]:
    """The terms as the audit trail keeps them."""
    rate = terms.segments_per_second
    return {**values(terms), "segments_per_second": None if rate is None else str(rate)}
