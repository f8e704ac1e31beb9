"""What a tenant used and owes, and how fast its senders may go."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from litestar import Controller, get
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import FromQuery, QueryParameter
from sqlalchemy import select

from api.callers import Caller
from api.routes.senders import per_second
from api.routes.shapes import Body, instant, moment
from api.wiring import Wiring, wiring_of
from billing.invoices import Invoice, current_invoice
from billing.subscriptions import current_period
from billing.usage import usage_by_meter
from messaging import learning
from messaging.day_counts import DayCaps, counters, usable
from messaging.faults import describe
from messaging.pacer import DayCap
from runtime import clock
from runtime.refusals import NotFound
from tenants.snapshot import DayCapsView, SenderView
from tenants.tables import schedule

From = Annotated[datetime | None, QueryParameter(name="from", description="Inclusive; with its offset from UTC.")]
To = Annotated[datetime | None, QueryParameter(name="to", description="Exclusive; with its offset from UTC.")]

DAY_CAP_USED = "the operator's cap of the day is used up"
ONLY_CODES = "what the operator's cap of the day leaves is kept for one-time codes"


class DayUse(Body):
    """The day's cap, if the registration has one, and what is used of it."""

    used: int
    cap: int | None
    resets_at: str | None


class LearnedRate(Body):
    """The rate that a registration is held to since `since`, when Twilio's `code` said that it was too fast; it rises by itself."""

    segments_per_second: str
    since: str | None
    code: int
    reason: str


class LearnedConcurrency(Body):
    """Requests that each worker may have in flight with the account since `since`, when Twilio's `code` said: too many."""

    at_once: int
    since: str | None
    code: int


class SenderLimits(Body):
    """How fast a sender may go, and how far it got. `segments_per_second` is what may be used now."""

    sender_id: UUID
    registration_id: UUID
    tier: str
    granted_segments_per_second: str
    segments_per_second: str
    used_last_second: int
    day: DayUse
    queued: int
    expected_drain_seconds: float
    paused_reason: str | None
    paused_until: str | None
    learned: LearnedRate | None
    concurrency: LearnedConcurrency | None


class Limits(Body):
    """The default sender's limits, and those of every sender."""

    senders: list[SenderLimits]
    tier: str | None
    segments_per_second: str | None
    used_last_second: int | None
    day: DayUse | None
    queued: int | None
    expected_drain_seconds: float | None
    paused_reason: str | None
    paused_until: str | None


class UsageRoutes(Controller):
    """`/v1/usage`, `/v1/invoices/current`, `/v1/limits`."""

    path = "/v1"
    tags = ("Usage",)

    @get(
        "/usage",
        summary="Usage by meter",
        description="Dated by when a thing happened: the end of a call, the moment Twilio took a text. Default: the current period.",
    )
    async def usage(
        self,
        caller: NamedDependency[Caller],
        state: State,
        since: From = None,
        until: To = None,
        group_by: FromQuery[Literal["day"] | None] = None,
    ) -> dict[str, object]:
        """Sums in `[from, to)`."""
        tenant = caller.tenant.id
        since, until = since and instant("/from", since), until and instant("/to", until)
        async with wiring_of(state).database.tenant_scope(tenant) as connection:
            if since is None or until is None:
                period = await current_period(connection, tenant, clock.now())
                since, until = since or period.starts_at, until or period.ends_at
            items = await usage_by_meter(connection, tenant, since, until, group_by)
        return {"from": moment(since), "to": moment(until), "items": items}

    @get("/invoices/current", summary="The current invoice", description="As if the period ended now.")
    async def invoice(self, caller: NamedDependency[Caller], state: State) -> Invoice:
        """The base fee and the usage so far."""
        async with wiring_of(state).database.tenant_scope(caller.tenant.id) as connection:
            return await current_invoice(connection, caller.tenant.id, clock.now())

    @get(
        "/limits",
        summary="Limits and queues of the senders",
        description="What was granted, what may be used now and why it is less, what waits, and until when nothing leaves.",
    )
    async def limits(self, caller: NamedDependency[Caller], state: State, sender_id: FromQuery[UUID | None] = None) -> Limits:
        """The tier, what is used of it, and how long the queue needs."""
        wiring, tenant = wiring_of(state), caller.tenant
        wanted = tenant.default_sender if sender_id is None else tenant.sender(sender_id)
        if sender_id is not None and wanted is None:
            raise NotFound("sender")
        listed = [await sender_limits(wiring, caller, sender) for sender in tenant.senders]
        main = next((each for each in listed if wanted is not None and each.sender_id == wanted.id), None)
        if main is None:
            return Limits([], None, None, None, None, None, None, None, None)
        return Limits(
            listed,
            main.tier,
            main.segments_per_second,
            main.used_last_second,
            main.day,
            main.queued,
            main.expected_drain_seconds,
            main.paused_reason,
            main.paused_until,
        )


async def sender_limits(wiring: Wiring, caller: Caller, sender: SenderView) -> SenderLimits:
    """One sender's limits, from the pacer, the schedule, and what was learned."""
    tenant, registration, granted = caller.tenant, sender.registration_id, sender.segments_per_minute
    query = select(schedule.c.queued_segments, schedule.c.queued_messages, schedule.c.hold_reason, schedule.c.held_until).where(
        schedule.c.tenant_id == tenant.id, schedule.c.registration_id == registration
    )
    async with wiring.database.tenant_scope(tenant.id) as connection:
        row = (await connection.execute(query)).one_or_none()
        hold = (await learning.holds(connection, tenant.id)).get(registration)
        rate = await learning.lowered_rate(connection, tenant.id, registration, granted)
        at_once = await learning.lowered_concurrency(connection, tenant.id, sender.id)
    per_minute = rate.now if rate else granted
    caps = tenant.day_caps.get(registration, DayCapsView())
    today = counters(registration, DayCaps(caps.registration_cap, caps.brand, caps.brand_cap), codes=True)
    state = await wiring.pacer.peek(tenant.id, registration, max(1, per_minute), today)
    segments, messages, reason, until = tuple(row) if row else (0, 0, None, None)
    if hold and (reason is None or until is not None):  # nothing waits, or nobody has looked yet: the schedule has not noticed
        reason, until = hold.reason, hold.until
    day, paused = day_use(sender, caps, today, state.days)
    if reason is None and paused:
        reason, until = paused, today[0].resets_at
    drain = state.next_in + segments * 60 / per_minute if per_minute else 0.0
    return SenderLimits(
        sender_id=sender.id,
        registration_id=registration,
        tier=sender.tier,
        granted_segments_per_second=per_second(granted),
        segments_per_second=per_second(per_minute),
        used_last_second=state.used_last_second,
        day=day,
        queued=messages,
        expected_drain_seconds=round(drain, 3),
        paused_reason=reason or ("the sender's tier allows no sending" if granted == 0 else None),
        paused_until=moment(until) if until else None,
        learned=LearnedRate(per_second(rate.now), moment(rate.since), rate.code, describe(rate.code).reason) if rate else None,
        concurrency=LearnedConcurrency(at_once.now, moment(at_once.since), at_once.code) if at_once else None,
    )


def day_use(sender: SenderView, caps: DayCapsView, today: Sequence[DayCap], used: Mapping[str, int]) -> tuple[DayUse, str | None]:
    """The cap that is nearest to its end, with its count, and why nothing (or nothing but codes) leaves any more today.

    Without a cap of the operator's it is T-Mobile's, which is counted and not kept by us.
    """
    kept = [(used[count.name], cap) for count, cap in zip(today, (caps.registration_cap, caps.brand_cap), strict=False) if cap is not None]
    if not kept:
        carriers = next((each.segments for each in sender.tier_facts.day_caps if each.enforced), None)
        return DayUse(used[today[0].name], carriers, moment(today[0].resets_at)), None
    count, cap = min(kept, key=lambda each: each[1] - each[0])
    reason = DAY_CAP_USED if count >= cap else ONLY_CODES if count >= usable(cap, codes=False) else None
    return DayUse(count, cap, moment(today[0].resets_at)), reason
