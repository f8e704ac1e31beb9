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
from tenants.tiers import OwnTier, Tier, tier
from tenants.transfer_directory import EntryView
from tenants.waiting import USUAL_BOUNDS, Line, QueueBounds, WaitingView


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
    own_tier: OwnTier | None = None  # where the operator defined the tier

    @property
    def tier_facts(self) -> Tier:
        """What the tier allows, from the data."""
        return tier(self.tier) if self.own_tier is None else self.own_tier.facts


class DayCapsView(msgspec.Struct, frozen=True):
    """Segments per day that the operator allows a registration, and all that share its brand; the brand's count is kept anyway."""

    registration_cap: int | None = None
    brand: str | None = None
    brand_cap: int | None = None


class HoldView(msgspec.Struct, frozen=True):
    """Nothing of a registration leaves before `until`; `code` is Twilio's."""

    until: datetime
    reason: str
    code: int | None


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
    holds: dict[UUID, HoldView] = {}
    learned_rates: dict[UUID, int] = {}
    own_tiers: tuple[OwnTier, ...] = ()
    day_caps: dict[UUID, DayCapsView] = {}  # by registration
    waiting: dict[UUID, WaitingView] = {}  # by registration
    queued_messages: int = 0
    queue_bounds: QueueBounds | None = None
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
    holds: Mapping[UUID, HoldView] = field(default_factory=dict)  # the same with the reason
    learned_rates: Mapping[UUID, int] = field(default_factory=dict)  # registration → segments per minute, where fewer than granted
    day_caps: Mapping[UUID, DayCapsView] = field(default_factory=dict)  # registration → what the operator allows a day
    waiting: Mapping[UUID, WaitingView] = field(default_factory=dict, repr=False)
    queued_messages: int = 0
    queue_bounds: QueueBounds = USUAL_BOUNDS
    lines: dict[UUID, Line] = field(default_factory=dict, repr=False)  # registration → its queue, with what this process added since
    accepted_since: list[UUID] = field(default_factory=list, repr=False)  # texts that this process added
    text_policy: TextPolicy = USUAL

    @property
    def default_sender(self) -> SenderView | None:
        """The sender that is used when none is named."""
        return next((sender for sender in self.senders if sender.is_default), None)

    def sender(self, sender_id: UUID) -> SenderView | None:
        """One sender by its id."""
        return next((sender for sender in self.senders if sender.id == sender_id), None)

    def rate_now(self, sender: SenderView) -> int:
        """Segments per minute that the sender's registration may use now: what it was granted, or less."""
        return self.learned_rates.get(sender.registration_id, sender.segments_per_minute)

    def line_of(self, sender: SenderView) -> Line:
        """The queue that a text of this sender joins."""
        known = self.lines.get(sender.registration_id)
        if known is None:
            seen = self.waiting.get(sender.registration_id) or WaitingView(((0, 0), (sender.queued_segments, 0), (0, 0)))
            known = Line.of(seen.ahead(sender.queued_segments), seen.owed_for or sender.paced_for, self.rate_now(sender), self.taken_at)
            self.lines[sender.registration_id] = known
        return known

    def note_accepted(self, message: Mapping[str, object]) -> None:
        """Count a text that was stored since: it waits before whatever is accepted next."""
        identity, segments, priority = message["message_id"], message["segments"], message["priority"]
        sender = next((each for each in self.senders if each.id == message["sender_id"]), None)
        if sender is None or not isinstance(identity, UUID) or not isinstance(segments, int) or not isinstance(priority, int):
            return
        self.accepted_since.append(identity)
        if message["status"] == "queued":
            self.line_of(sender).add(priority, segments, self.rate_now(sender), clock.monotonic())

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
    own = {each.name: each for each in raw.own_tiers}
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
        senders=tuple(msgspec.structs.replace(each, own_tier=own.get(each.tier)) for each in raw.senders),
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
        holds=raw.holds,
        learned_rates=raw.learned_rates,
        day_caps=raw.day_caps,
        waiting=raw.waiting,
        queued_messages=raw.queued_messages,
        queue_bounds=raw.queue_bounds or USUAL_BOUNDS,
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
