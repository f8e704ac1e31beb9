"""Senders of a tenant: the Twilio number or service its texts leave from, and the tier that paces them."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

from litestar import Controller, get, post, put
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import JSONBody
from msgspec import Meta

from api.callers import Caller
from api.pages import Page
from api.routes.shapes import END, Body, moment
from api.wiring import wiring_of
from billing.money import decimal_text
from messaging import learning
from messaging.learning import Hold
from runtime.refusals import Invalid
from tenants import senders
from tenants.own_tiers import known_tiers
from tenants.senders import SenderRequest
from tenants.tiers import Tier, sender_tiers

AccountSid = Annotated[
    str, Meta(pattern=r"^AC[0-9a-fA-F]{32}" + END, description="The Twilio account that owns the sender.", examples=["AC" + "0" * 32])
]
Secret = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+" + END)]
Number = Annotated[
    str,
    Meta(
        pattern=r"^(\+[1-9][0-9]{6,14}|[0-9]{3,8})" + END, description="E.164, or a short code's 3 to 8 digits.", examples=["+18005550100"]
    ),
]
ServiceSid = Annotated[str, Meta(pattern=r"^MG[0-9a-fA-F]{32}" + END, examples=["MG" + "0" * 32])]
KeySid = Annotated[str, Meta(pattern=r"^SK[0-9a-fA-F]{32}" + END)]
CampaignSid = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=64,
        pattern=r"^[\x21-\x7e]+" + END,
        description="The 10DLC campaign: senders of one campaign share its rate.",
    ),
]


class SenderBody(Body):
    """A sender with its credentials: the account's auth token, or an API key (and the token too, to check callbacks' signatures)."""

    account_sid: AccountSid
    tier: str | None = None
    auth_token: Secret | None = None
    api_key_sid: KeySid | None = None
    api_key_secret: Secret | None = None
    from_number: Number | None = None
    messaging_service_sid: ServiceSid | None = None
    campaign_sid: CampaignSid | None = None
    brand_sid: CampaignSid | None = None


class ShownCap(Body):
    """A day's cap: segments, of which carrier, and when the day begins."""

    carrier: str
    segments: int
    timezone: str
    kind: str


class Circuit(Body):
    """Whether Twilio takes texts of this sender: while it is open nothing leaves before `until`, when a few are tried."""

    state: Literal["closed", "open"]
    until: str | None = None
    code: int | None = None
    reason: str | None = None
    what_to_do: str | None = None


class Sender(Body):
    """A sender without its secrets."""

    id: UUID
    registration_id: UUID
    account_sid: str
    from_number: str | None
    messaging_service_sid: str | None
    tier: str
    tier_source: str
    segments_per_second: str
    segments_per_minute: int
    day_caps: list[ShownCap]
    campaign_sid: str | None
    brand_sid: str | None
    is_default: bool
    warnings: list[str]
    circuit: Circuit
    created_at: str | None


class SenderRoutes(Controller):
    """`/v1/sender`, `/v1/senders`."""

    path = "/v1"
    tags = ("Senders",)

    @put(
        "/sender",
        summary="Set the default sender",
        description="Creates or joins a registration; repeating it renews credentials and tier, and closes the circuit. "
        "Secrets never come back.",
    )
    async def put_default(self, data: JSONBody[SenderBody], caller: NamedDependency[Caller], state: State) -> Sender:
        """Set the sender that is used when none is named."""
        return await put_sender(data, caller, state, default=True)

    @post("/senders", summary="Add a sender")
    async def add(self, data: JSONBody[SenderBody], caller: NamedDependency[Caller], state: State) -> Sender:
        """Add one; the first becomes the default."""
        return await put_sender(data, caller, state, default=caller.tenant.default_sender is None)

    @get("/senders", summary="List senders")
    async def list(self, caller: NamedDependency[Caller], state: State) -> Page[Sender]:
        """All of them."""
        async with wiring_of(state).database.tenant_scope(caller.tenant.id) as connection:
            tiers = await known_tiers(connection)
            held = await learning.holds(connection, caller.tenant.id)
            return Page([shown(row, tiers, held) for row in await senders.list_senders(connection, caller.tenant.id)])


async def put_sender(data: SenderBody, caller: Caller, state: State, *, default: bool) -> Sender:
    """Check a sender, store it, show it."""
    wiring = wiring_of(state)
    wanted = checked(data, caller)
    async with wiring.database.tenant_scope(caller.tenant.id) as connection:
        named = (wanted.account_sid, wanted.from_number, wanted.messaging_service_sid, wanted.campaign_sid)
        await learning.close_circuit(connection, caller.tenant.id, *named)
        sender_id = await senders.put_sender(connection, wiring.keyring, caller.tenant.id, wanted, caller.actor, default=default)
        row = await senders.sender_row(connection, caller.tenant.id, sender_id)
        tiers = await known_tiers(connection)
        held = await learning.holds(connection, caller.tenant.id)
    wiring.tenants.forget(caller.tenant.slug)
    return shown(row, tiers, held)


def checked(data: SenderBody, caller: Caller) -> SenderRequest:
    """The sender with the tier it claims.

    Raises:
        Invalid: no way to reach Twilio, no sender, or no tier.
    """
    if (data.from_number is None) == (data.messaging_service_sid is None):
        raise Invalid.at("/from_number", "Give either from_number or messaging_service_sid.")
    if (data.api_key_sid is None) != (data.api_key_secret is None):
        raise Invalid.at("/api_key_secret", "Give api_key_sid and api_key_secret together.")
    if data.auth_token is None and data.api_key_sid is None:
        raise Invalid.at("/auth_token", "Give auth_token, or api_key_sid with api_key_secret.")
    claimed = data.tier or caller.tenant.operator_tier
    if claimed is None:
        raise Invalid.at("/tier", f"Name the registration's tier: {', '.join(sender_tiers())}.")
    return SenderRequest(
        account_sid=data.account_sid,
        tier=claimed,
        tier_source="tenant" if data.tier else "operator",
        from_number=data.from_number,
        messaging_service_sid=data.messaging_service_sid,
        auth_token=data.auth_token,
        api_key_sid=data.api_key_sid,
        api_key_secret=data.api_key_secret,
        campaign_sid=data.campaign_sid,
        brand_sid=data.brand_sid,
    )


def shown(row: dict[str, Any], tiers: Mapping[str, Tier], held: Mapping[UUID, Hold]) -> Sender:
    """A sender as the contract has it; `held` by registration."""
    facts = tiers[row["tier"]]
    return Sender(
        id=row["id"],
        registration_id=row["registration_id"],
        account_sid=row["account_sid"],
        from_number=row["from_number"],
        messaging_service_sid=row["messaging_service_sid"],
        tier=row["tier"],
        tier_source=row["tier_source"],
        segments_per_second=per_second(row["segments_per_minute"]),
        segments_per_minute=row["segments_per_minute"],
        day_caps=shown_caps(facts),
        campaign_sid=row["campaign_sid"],
        brand_sid=row["brand_sid"],
        is_default=row["is_default"],
        warnings=warnings(row, facts),
        circuit=circuit(held.get(row["registration_id"])),
        created_at=moment(row["created_at"]),
    )


def circuit(hold: Hold | None) -> Circuit:
    """A sender's circuit, from what its registration is held for."""
    if hold is None or not hold.opens_circuit:
        return Circuit("closed")
    return Circuit("open", moment(hold.until), hold.code, hold.reason, hold.what_to_do)


def shown_caps(facts: Tier) -> list[ShownCap]:
    """The caps of a tier's day."""
    return [ShownCap(cap.carrier, cap.segments, cap.timezone.key, "enforced" if cap.enforced else "estimate") for cap in facts.day_caps]


def per_second(per_minute: int) -> str:
    """A whole rate per minute as decimal text per second: exact for every tier."""
    return decimal_text((Decimal(per_minute) / 60).quantize(Decimal("0.0001")))


def warnings(row: dict[str, Any], facts: Tier) -> list[str]:
    """What the tenant should know about this sender."""
    found = []
    if not row["signed_callbacks"]:
        found.append("Without the auth token Twilio's signature on callbacks cannot be checked; only the token in their URL is.")
    if row["segments_per_minute"] == 0 or facts.blocked_destinations:
        found.append(facts.description)
    if row["from_number"] and not row["from_number"].startswith("+"):
        found.append("Twilio answers HELP and STOP on short codes only with Advanced Opt-Out.")
    return found
