"""Which plan a tenant is on, and since when. Subscriptions of a tenant follow each other without gap or overlap.

A change of plan takes effect with the next period: the running one is billed by the terms it began with, the base fee is
never split, and the anchor day and the zone stay, so that the periods go on as before.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.periods import Period, period_containing
from billing.plans import latest_plan
from billing.tables import subscriptions
from runtime.ids import TenantId, uuid7
from runtime.refusals import NotFound


class NoSubscription(NotFound):
    """The tenant is on no plan: 404."""

    def __init__(self) -> None:
        super().__init__("subscription")


@dataclass(frozen=True, slots=True)
class Subscription:
    """A tenant on one version of a plan in `[started_at, ended_at)`; the zone is the one its periods were agreed in."""

    id: UUID
    plan_id: UUID
    timezone: str
    anchor_day: int
    started_at: datetime
    ended_at: datetime | None = None


COLUMNS = [column for column in subscriptions.c if column.name != "tenant_id"]


async def start_subscription(connection: AsyncConnection, tenant: TenantId, plan_name: str, timezone: str, at: datetime) -> Subscription:
    """Put a new tenant on the newest version of a plan; its periods begin on today's day of the month in its zone.

    Raises:
        UnknownPlan: there is no such plan.
        ZoneInfoNotFoundError: the zone is not in the time zone database.
        sqlalchemy.exc.IntegrityError: the tenant has a subscription.
    """
    anchor_day = at.astimezone(ZoneInfo(timezone)).day
    plan = await latest_plan(connection, plan_name)
    return await _begin(connection, tenant, Subscription(uuid7(), plan.id, timezone, anchor_day, at))


async def subscription_in_force(connection: AsyncConnection, tenant: TenantId, at: datetime) -> Subscription:
    """The subscription at an instant; before the first began it is the first, since hosts' clocks differ a little.

    Raises:
        NoSubscription: the tenant has none, or its last one ended.
    """
    columns = subscriptions.c
    found = await connection.execute(
        select(*COLUMNS)
        .where(columns.tenant_id == tenant, or_(columns.ended_at.is_(None), columns.ended_at > at))
        .order_by(columns.started_at)
        .limit(1)
    )
    row = found.first()
    if row is None:
        raise NoSubscription
    return Subscription(*row)


async def current_period(connection: AsyncConnection, tenant: TenantId, now: datetime) -> Period:
    """The billing period that an instant falls in.

    Raises:
        NoSubscription: the tenant has none, or its last one ended.
    """
    subscription = await subscription_in_force(connection, tenant, now)
    return period_containing(now, subscription.anchor_day, subscription.timezone)


async def change_plan(connection: AsyncConnection, tenant: TenantId, plan_name: str, at: datetime) -> Subscription:
    """Put a tenant on the newest version of a plan from its next period on; a change still to come is superseded.

    Returns:
        The subscription that will then be in force; the present one if it is on that version already and no change was to come.

    Raises:
        UnknownPlan: there is no such plan.
        NoSubscription: the tenant has none, or its last one ended.
    """
    plan = await latest_plan(connection, plan_name)
    last = await _last_one_locked(connection, tenant)
    if last.plan_id == plan.id:
        return last
    # one that has not begun ends where it would have begun: it was never in force, and the chain stays whole
    boundary = max(last.started_at, period_containing(at, last.anchor_day, last.timezone).ends_at)
    await connection.execute(
        update(subscriptions).where(subscriptions.c.tenant_id == tenant, subscriptions.c.id == last.id).values(ended_at=boundary)
    )
    return await _begin(connection, tenant, Subscription(uuid7(), plan.id, last.timezone, last.anchor_day, boundary))


async def _last_one_locked(connection: AsyncConnection, tenant: TenantId) -> Subscription:
    """The subscription without an end, while no other change of this tenant's plan can run."""
    columns = subscriptions.c
    # two statements: the second one's snapshot sees what the winner of a race has appended
    await connection.execute(select(columns.id).where(columns.tenant_id == tenant).with_for_update())
    found = await connection.execute(select(*COLUMNS).where(columns.tenant_id == tenant, columns.ended_at.is_(None)))
    row = found.first()
    if row is None:
        raise NoSubscription
    return Subscription(*row)


async def _begin(connection: AsyncConnection, tenant: TenantId, subscription: Subscription) -> Subscription:
    values = {column.name: getattr(subscription, column.name) for column in COLUMNS}
    await connection.execute(insert(subscriptions).values(tenant_id=tenant, **values))
    return subscription
