"""What a request or a job needs to know of its tenant: one value object, at most two seconds old."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import text

from runtime import clock
from runtime.database import Database
from runtime.fresh import FreshCache
from runtime.ids import TenantId
from runtime.sentry import TenantTags
from tenants.answerers import AnswererView
from tenants.hours import Hours
from tenants.inbound_routes import RouteView
from tenants.privacy import MASKED, Privacy
from tenants.quiet_hours import QuietHours
from tenants.signature_plans import SignaturePlan
from tenants.slugs import is_slug
from tenants.text_policy import USUAL, TextPolicy
from tenants.tiers import Tier, tier
from tenants.transfer_directory import EntryView


class SenderView(msgspec.Struct, frozen=True):
    """A sender, its registration's tier and how busy it was when the snapshot was taken."""

    id: UUID
    registration_id: UUID
    is_default: bool
    from_number: str | None
    tier: str
    segments_per_minute: int
    queued_segments: int
    hold_reason: str | None
    paced_for: float  # seconds until the pacer's next free slot

    @property
    def tier_facts(self) -> Tier:
        """What the tier allows, from the data."""
        return tier(self.tier)


class CredentialView(msgspec.Struct, frozen=True):
    """The keyed hash of a webhook secret; `seconds_left` is null while nobody rotated it."""

    hash: str
    seconds_left: float | None


class SigningView(msgspec.Struct, frozen=True):
    """A secret that signs, sealed, and how; `seconds_left` is null while nobody rotated it."""

    sealed: str
    plan: SignaturePlan
    seconds_left: float | None


class ToolView(msgspec.Struct, frozen=True):
    """A tool of the tenant's own: an HTTP endpoint that the model may call. Its secrets are sealed, bound to the column `sealed_for`."""

    name: str
    url: str
    method: str
    timeout_ms: int
    secret_sealed: str
    previous_secret_sealed: str | None
    repeatable: bool
    business_arguments: tuple[str, ...]
    business_seconds: int
    sealed_for: str = "http_tools.secret"


class Raw(msgspec.Struct, frozen=True):
    """The snapshot as the SQL function gives it."""

    id: UUID
    slug: str
    name: str
    timezone: str
    plan: str
    status: str
    tier: str | None
    max_tier: str | None
    switches: dict[str, str]
    assistants: list[str]
    credentials: list[CredentialView]
    senders: list[SenderView]
    tools: list[ToolView]
    bodies_days: int
    capture: str
    hours: Hours | None = None
    inbound_routes: tuple[RouteView, ...] = ()
    transfers: tuple[EntryView, ...] = ()
    answerers: tuple[AnswererView, ...] = ()
    bearer_headers: tuple[str, ...] = ()
    signing: tuple[SigningView, ...] = ()
    privacy: Privacy = MASKED
    quiet_hours: QuietHours | None = None
    day_holds: dict[UUID, datetime] = {}  # by registration
    text_policy: TextPolicy | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A tenant, as it was at `taken_at` (monotonic seconds)."""

    id: TenantId
    slug: str
    name: str
    zone: ZoneInfo
    plan: str
    status: str
    max_tier: str | None
    operator_tier: str | None
    switches: Mapping[str, str]
    assistants: frozenset[str]
    credentials: Mapping[bytes, float] = field(repr=False)  # keyed hash → monotonic second until which it is valid
    senders: tuple[SenderView, ...]
    tags: TenantTags
    taken_at: float
    tools: Mapping[str, ToolView] = field(default_factory=dict, repr=False)
    bodies_days: int = 30
    capture: str = "failures"  # or "all": whose bodies are kept
    inbound_routes: Mapping[str, RouteView] = field(default_factory=dict, repr=False)
    transfers: tuple[EntryView, ...] = field(default=(), repr=False)
    answerers: Mapping[str, AnswererView] = field(default_factory=dict, repr=False)
    bearer_headers: tuple[bytes, ...] = ()  # where secrets may come beside Authorization and X-Vapi-Secret
    signing: tuple[SigningView, ...] = field(default=(), repr=False)
    opened: dict[str, bytes] = field(default_factory=dict, repr=False)  # sealed secret → key: each is opened once per snapshot
    recognised: dict[str, bytes] = field(default_factory=dict, repr=False)  # accepted secret → keyed hash: each is hashed once per snapshot
    privacy: Privacy = MASKED
    hours: Hours | None = None  # when the tenant is open; None while nobody has said so
    quiet_hours: QuietHours | None = None  # its own; None while it has none
    day_holds: Mapping[UUID, datetime] = field(default_factory=dict)  # registration → nothing leaves before
    text_policy: TextPolicy = USUAL
    accepted_since: dict[UUID, int] = field(default_factory=dict)  # segments per registration that this process added

    @property
    def default_sender(self) -> SenderView | None:
        """The sender that is used when none is named."""
        return next((sender for sender in self.senders if sender.is_default), None)

    def sender(self, sender_id: UUID) -> SenderView | None:
        """One sender by its id."""
        return next((sender for sender in self.senders if sender.id == sender_id), None)

    def note_accepted(self, message: Mapping[str, object]) -> None:
        """Count a text that was stored since: it waits before whatever is accepted next."""
        registration, segments = message["registration_id"], message["segments"]
        if isinstance(registration, UUID) and isinstance(segments, int):
            self.accepted_since[registration] = self.accepted_since.get(registration, 0) + segments

    def switch(self, name: str, default: str) -> str:
        """The mode of a switch: of the tenant's own and everybody's the one that is farther from the default."""
        return self.switches.get(name, default)


class TenantBook:
    """Snapshots by slug or id."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._by_slug: FreshCache[str, Snapshot | None] = FreshCache(self._load)
        self._slugs: dict[TenantId, str] = {}  # slugs never change

    async def by_slug(self, slug: str) -> Snapshot | None:
        """The tenant of a webhook URL, or None; closed tenants are unknown."""
        return await self._by_slug.get(slug) if is_slug(slug) else None

    async def by_id(self, tenant: TenantId) -> Snapshot | None:
        """The tenant of a key or a job, or None."""
        slug = self._slugs.get(tenant)
        if slug is None:
            async with self._database.unscoped() as connection:  # unscoped: a tenant's slug stands in the schema control
                slug = (await connection.execute(text("SELECT slug FROM control.tenants WHERE id = :id"), {"id": tenant})).scalar()
            if slug is None:
                return None
            self._slugs[tenant] = slug
        return await self._by_slug.get(slug)

    def forget(self, slug: str) -> None:
        """This process changed the tenant: read it anew at the next use."""
        self._by_slug.forget(slug)

    def forget_all(self) -> None:
        """This process changed tenants, it does not know which."""
        self._by_slug.forget_all()

    async def _load(self, slug: str) -> Snapshot | None:
        found = await self._database.call_for_many("SELECT app.tenant_snapshot_v5($1)", slug)
        document = found[0][0]
        return None if document is None else snapshot_of(msgspec.json.decode(document, type=Raw))


def snapshot_of(raw: Raw) -> Snapshot:
    """The value object from the database's document."""
    taken_at = clock.monotonic()
    default = next((sender for sender in raw.senders if sender.is_default), None)
    return Snapshot(
        id=TenantId(raw.id),
        slug=raw.slug,
        name=raw.name,
        zone=ZoneInfo(raw.timezone),
        plan=raw.plan,
        status=raw.status,
        max_tier=raw.max_tier,
        operator_tier=raw.tier,
        switches=raw.switches,
        assistants=frozenset(raw.assistants),
        credentials=valid_until(raw.credentials, taken_at),
        senders=tuple(raw.senders),
        tags=TenantTags(str(raw.id), raw.slug, default.tier if default else "none"),
        taken_at=taken_at,
        tools={each.name: each for each in raw.tools},
        bodies_days=raw.bodies_days,
        capture=raw.capture,
        inbound_routes={each.phone_number: each for each in raw.inbound_routes},
        transfers=raw.transfers,
        answerers={each.type: each for each in raw.answerers},
        bearer_headers=tuple(name.encode() for name in raw.bearer_headers),
        signing=raw.signing,
        privacy=raw.privacy,
        day_holds=raw.day_holds,
        hours=raw.hours if raw.hours and (raw.hours.week or raw.hours.days) else None,
        text_policy=raw.text_policy or USUAL,
        quiet_hours=raw.quiet_hours if raw.quiet_hours and raw.quiet_hours.hours.week else None,
    )


def valid_until(views: list[CredentialView], taken_at: float) -> dict[bytes, float]:
    """Each keyed hash with the monotonic second until which it is valid; of a secret that stands in several rows, the last one."""
    ends: dict[bytes, float] = {}
    for view in views:
        digest = bytes.fromhex(view.hash)
        until = float("inf") if view.seconds_left is None else taken_at + view.seconds_left
        ends[digest] = max(until, ends.get(digest, until))
    return ends
