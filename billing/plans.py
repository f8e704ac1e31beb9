"""Plans: a base fee per period, and by meter included units and a price beyond them. A change is a new version."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.meters import place_of
from billing.plan_terms import Price, check_terms
from billing.tables import plan_prices, plans
from runtime.ids import uuid7
from runtime.refusals import Invalid

ONE_AUTHOR = text("SELECT pg_advisory_xact_lock(hashtextextended('plan ' || CAST(:name AS text), 0))")


class UnknownPlan(Invalid):
    """A plan was named that does not exist: 400."""

    def __init__(self, name: str) -> None:
        super().__init__("The request is not valid.", [("/plan", f"There is no plan {name!r}.")])


@dataclass(frozen=True, slots=True)
class Plan:
    """One version of a plan, with its prices in the order of METERS; it never changes."""

    id: UUID
    name: str
    version: int
    currency: str
    base_fee: Decimal
    prices: tuple[Price, ...]
    created_at: datetime


async def create_plan(connection: AsyncConnection, name: str, currency: str, base_fee: Decimal, prices: Sequence[Price]) -> Plan:
    """Store the next version of a plan; tenants that subscribed to an earlier one keep it.

    Raises:
        Invalid: the terms make no sense; each wrong place by its pointer (`/currency`, `/prices/0/per`).
    """
    check_terms(name, currency, base_fee, prices)
    await connection.execute(ONE_AUTHOR, {"name": name})  # two authors of one plan take turns, so that versions are consecutive
    version = select(func.coalesce(func.max(plans.c.version), 0) + 1).where(plans.c.name == name).scalar_subquery()
    plan = {"id": uuid7(), "name": name, "version": version, "currency": currency, "base_fee": base_fee}
    await connection.execute(insert(plans).values(plan))
    if prices:
        await connection.execute(insert(plan_prices), [{"plan_id": plan["id"], **asdict(price)} for price in prices])
    (stored,) = _plans_in(await connection.execute(_with_prices().where(plans.c.id == plan["id"])))
    return stored


async def latest_plan(connection: AsyncConnection, name: str) -> Plan:
    """The newest version of a plan.

    Raises:
        UnknownPlan: no version has this name.
    """
    newest = select(func.max(plans.c.version)).where(plans.c.name == name).scalar_subquery()
    found = _plans_in(await connection.execute(_with_prices().where(plans.c.name == name, plans.c.version == newest)))
    if not found:
        raise UnknownPlan(name)
    return found[0]


async def plan_by_id(connection: AsyncConnection, plan: UUID) -> Plan:
    """The version that a subscription is pinned to; that it exists is a foreign key's promise."""
    (found,) = _plans_in(await connection.execute(_with_prices().where(plans.c.id == plan)))
    return found


async def list_plans(connection: AsyncConnection) -> list[Plan]:
    """Every version of every plan, by name, the newest version first."""
    return _plans_in(await connection.execute(_with_prices().order_by(plans.c.name, plans.c.version.desc())))


def _with_prices() -> Select[Any]:
    """A row per price, and one with nothing in `meter` for a plan that has none."""
    return select(plans, *(column for column in plan_prices.c if column.name != "plan_id")).outerjoin(
        plan_prices, plan_prices.c.plan_id == plans.c.id
    )


def _plans_in(rows: Iterable[Row[Any]]) -> list[Plan]:
    """Plans from their rows, which stand together by plan."""
    found = []
    for _, together in groupby(rows, key=lambda row: row.id):
        versions = list(together)
        prices = [Price(row.meter, row.included, row.unit_price, row.per) for row in versions if row.meter is not None]
        prices.sort(key=lambda price: place_of(price.meter))
        plan = versions[0]
        found.append(Plan(plan.id, plan.name, plan.version, plan.currency, plan.base_fee, tuple(prices), plan.created_at))
    return found
