"""The operator's API of tiers and registrations: what is granted to all that have a tier, and to one registration."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from litestar import Controller, delete, get, patch, post, put
from litestar.datastructures import State
from litestar.params import FromPath, JSONBody
from msgspec import Meta

from api.callers import ADMIN
from api.pages import Page
from api.routes.senders import ShownCap, per_second, shown_caps
from api.routes.shapes import END, Body, decimal_or_none, moment
from api.wiring import wiring_of
from runtime.ids import TenantId
from runtime.refusals import Invalid
from tenants import own_tiers, registrations, registry
from tenants.own_tiers import TierTerms, effective_rate
from tenants.registrations import Override
from tenants.tiers import Tier, sender_tiers

Name = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{1,62}" + END, description="Never used again.", examples=["pilot_customers"])]
Description = Annotated[str, Meta(max_length=300)]
PerSecond = Annotated[
    Decimal, Meta(description="Rounded down to whole segments per minute; write it as text to be exact.", examples=["3.75"])
]
PerMinute = Annotated[int, Meta(ge=1, le=own_tiers.FASTEST)]
PerDay = Annotated[int, Meta(ge=1, le=1_000_000_000, description="Segments until midnight in Los Angeles.")]
Scope = Literal["brand", "registration"]
Region = Annotated[str, Meta(pattern=r"^[A-Z]{2}" + END, description="ISO 3166 country.", examples=["US"])]
Regions = Annotated[tuple[Region, ...], Meta(max_length=250)]
MOST_DIGITS = 4  # after the point: a rate per second that is one per minute or more needs no finer one


class NewTier(Body):
    """A tier to define. Give one rate or both: the stricter holds. `day_cap` is shared by a tenant's registrations of one brand."""

    name: Name
    description: Description = ""
    segments_per_second: PerSecond | None = None
    segments_per_minute: PerMinute | None = None
    day_cap: PerDay | None = None
    day_cap_scope: Scope = "brand"
    blocked_destinations: Regions = ()


class TierChange(Body):
    """What can change about a tier; a field that is absent stays, `null` clears."""

    description: Description | msgspec.UnsetType = msgspec.UNSET
    segments_per_second: PerSecond | msgspec.UnsetType | None = msgspec.UNSET
    segments_per_minute: PerMinute | msgspec.UnsetType | None = msgspec.UNSET
    day_cap: PerDay | msgspec.UnsetType | None = msgspec.UNSET
    day_cap_scope: Scope | msgspec.UnsetType = msgspec.UNSET
    blocked_destinations: Regions | msgspec.UnsetType = msgspec.UNSET


class ShownTier(Body):
    """A tier that a sender can have; `own` marks the operator's, and `given` is how the operator defined its rate."""

    name: str
    description: str
    own: bool
    segments_per_second: str
    segments_per_minute: int
    given: dict[str, str | int | None] | None
    day_caps: list[ShownCap]
    day_cap_scope: str | None
    blocked_destinations: list[str]
    created_at: str | None
    updated_at: str | None


class OverrideBody(Body):
    """What one registration gets in place of its tier's; without rates its tier's, without `day_cap` its tier's."""

    segments_per_second: PerSecond | None = None
    segments_per_minute: PerMinute | None = None
    day_cap: PerDay | None = None
    note: Annotated[str, Meta(max_length=200)] = ""


class ShownOverride(Body):
    """The operator's word for one registration."""

    segments_per_minute: int | None
    day_cap: int | None
    note: str | None


class ShownRegistration(Body):
    """A registration: what it claims, what it gets and why, and who shares it."""

    id: UUID
    claimed_tier: str
    tier: str
    tier_source: str
    segments_per_second: str
    segments_per_minute: int
    campaign_sid: str | None
    brand_sid: str | None
    override: ShownOverride | None
    senders: list[UUID]
    updated_at: str | None


class TierAdmin(Controller):
    """`/v1/admin/tiers`."""

    path = "/v1/admin/tiers"
    tags = ("Admin",)

    @get(summary="List tiers", description="Those of the carriers and Twilio, then the operator's own.")
    async def list(self, state: State) -> Page[ShownTier]:
        """All that a sender can have."""
        async with wiring_of(state).database.unscoped() as connection:  # unscoped: the operator's tiers stand in the schema control
            own = await own_tiers.list_own(connection)
        return Page([*(shown(row) for row in sender_tiers().values()), *(shown_own(row) for row in own)])

    @post(summary="Define a tier", description="Tenants and the operator can name it from now on, as the tier of a sender or as a cap.")
    async def create(self, data: JSONBody[NewTier], state: State) -> ShownTier:
        """Store it."""
        check_digits(data.segments_per_second)
        terms = TierTerms(
            description=data.description,
            segments_per_second=data.segments_per_second,
            segments_per_minute=data.segments_per_minute,
            day_cap=data.day_cap,
            day_cap_scope=data.day_cap_scope if data.day_cap else None,
            blocked_destinations=data.blocked_destinations,
        )
        async with wiring_of(state).database.unscoped() as connection:  # unscoped: the operator's tiers stand in the schema control
            await own_tiers.make_tier(connection, data.name, terms, ADMIN)
            return shown_own(await own_tiers.own_row(connection, data.name))

    @patch("/{name:str}", summary="Change a tier", description="All that have it follow at once, what is queued included.")
    async def change(self, name: FromPath[str], data: JSONBody[TierChange], state: State) -> ShownTier:
        """Put new terms in force."""
        wiring = wiring_of(state)
        async with wiring.database.unscoped() as connection:  # unscoped: each tenant's scope is entered inside the SQL function
            terms = changed(await own_tiers.own_row(connection, name), data)
            await own_tiers.change_tier(connection, name, terms, ADMIN)
            row = await own_tiers.own_row(connection, name)
        wiring.tenants.forget_all()
        wiring.wake.publish()
        return shown_own(row)

    @delete("/{name:str}", summary="Retire a tier", description="Refused while a registration or the cap of a tenant uses it.")
    async def retire(self, name: FromPath[str], state: State) -> None:
        """Nobody can be given it any more."""
        async with wiring_of(state).database.unscoped() as connection:  # unscoped: the SQL function enters scopes
            await own_tiers.retire_tier(connection, name, ADMIN)


class RegistrationAdmin(Controller):
    """`/v1/admin/tenants/{tenant_id}/registrations`."""

    path = "/v1/admin/tenants/{tenant_id:uuid}/registrations"
    tags = ("Admin",)

    @get(summary="List a tenant's registrations")
    async def list(self, tenant_id: FromPath[UUID], state: State) -> Page[ShownRegistration]:
        """What they claim, what they get and why."""
        return Page(await shown_registrations(state, tenant_id))

    @put(
        "/{registration_id:uuid}",
        summary="Override a registration",
        description="Holds at once, over its tier and the tenant's max_tier, until empty values lift it. What its tier blocks stays so.",
    )
    async def override(
        self, tenant_id: FromPath[UUID], registration_id: FromPath[UUID], data: JSONBody[OverrideBody], state: State
    ) -> ShownRegistration:
        """Grant it, or lift it."""
        wiring, rated = wiring_of(state), data.segments_per_second is not None or data.segments_per_minute is not None
        check_digits(data.segments_per_second)
        rate = effective_rate(data.segments_per_second, data.segments_per_minute) if rated else None
        wanted = Override(rate, data.day_cap, data.note)
        async with wiring.database.unscoped() as connection:  # unscoped: the tenant stands in the schema control
            slug = (await registry.tenant_row(connection, tenant_id))["slug"]
        async with wiring.database.tenant_scope(TenantId(tenant_id)) as connection:
            await registrations.override_registration(connection, TenantId(tenant_id), registration_id, wanted, ADMIN)
        wiring.tenants.forget(slug)
        wiring.wake.publish()
        return next(each for each in await shown_registrations(state, tenant_id) if each.id == registration_id)


def check_digits(per_second: Decimal | None) -> None:
    """Refuse what is no rate.

    Raises:
        Invalid: it is no number, or finer than a rate can be.
    """
    if per_second is None:
        return
    exponent = per_second.as_tuple().exponent
    if not isinstance(exponent, int) or exponent < -MOST_DIGITS or abs(per_second) > own_tiers.FASTEST:
        raise Invalid.at("/segments_per_second", f"A rate per second is a number with at most {MOST_DIGITS} digits after the point.")


def changed(row: Mapping[str, Any], data: TierChange) -> TierTerms:
    """The terms of a tier with what is given in place of what stood."""
    check_digits(data.segments_per_second if isinstance(data.segments_per_second, Decimal) else None)
    given = {name: value for name in TierTerms.__struct_fields__ if (value := getattr(data, name)) is not msgspec.UNSET}
    terms = {name: row[name] for name in TierTerms.__struct_fields__} | given
    terms["day_cap_scope"] = (terms["day_cap_scope"] or "brand") if terms["day_cap"] else None
    return TierTerms(**{**terms, "blocked_destinations": tuple(terms["blocked_destinations"])})


async def shown_registrations(state: State, tenant_id: UUID) -> list[ShownRegistration]:
    """A tenant's registrations as the contract has them.

    Raises:
        NotFound: there is no such tenant.
    """
    database, tenant = wiring_of(state).database, TenantId(tenant_id)
    async with database.unscoped() as connection:  # unscoped: the tenant stands in the schema control
        await registry.tenant_row(connection, tenant_id)
    async with database.tenant_scope(tenant) as connection:
        return [shown_registration(row) for row in await registrations.list_registrations(connection, tenant)]


def shown_registration(row: Mapping[str, Any]) -> ShownRegistration:
    """A registration as the contract has it."""
    override = ShownOverride(row["override_per_minute"], row["override_day_cap"], row["override_note"])
    overridden = row["override_per_minute"] is not None or row["override_day_cap"] is not None
    return ShownRegistration(
        id=row["id"],
        claimed_tier=row["claimed_tier"] or row["tier"],
        tier=row["tier"],
        tier_source=row["tier_source"],
        segments_per_second=per_second(row["segments_per_minute"]),
        segments_per_minute=row["segments_per_minute"],
        campaign_sid=row["campaign_sid"],
        brand_sid=row["brand_sid"],
        override=override if overridden else None,
        senders=row["senders"],
        updated_at=moment(row["updated_at"]),
    )


def shown(facts: Tier) -> ShownTier:
    """A tier as the contract has it."""
    scope = next((cap.scope for cap in facts.day_caps if cap.enforced), None)
    return ShownTier(
        name=facts.name,
        description=facts.description,
        own=facts.own,
        segments_per_second=per_second(facts.segments_per_minute),
        segments_per_minute=facts.segments_per_minute,
        given=None,
        day_caps=shown_caps(facts),
        day_cap_scope=scope,
        blocked_destinations=sorted(facts.blocked_destinations),
        created_at=None,
        updated_at=None,
    )


def shown_own(row: Mapping[str, Any]) -> ShownTier:
    """A tier of the operator's as the contract has it."""
    given = {"segments_per_second": decimal_or_none(row["segments_per_second"]), "segments_per_minute": row["segments_per_minute"]}
    made, renewed = moment(row["created_at"]), moment(row["updated_at"])
    return msgspec.structs.replace(shown(own_tiers.facts(row)), given=given, created_at=made, updated_at=renewed)
