"""Invoices as the HTTP contract shows them; so far the current one, which is computed anew at every look and never stored."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Literal

from msgspec import Struct, field
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.ledger import totals_by_meter
from billing.money import Money, decimal_text, money, price
from billing.periods import Period, period_containing
from billing.plans import Plan, plan_by_id
from billing.rating import RatedLine, rate
from billing.subscriptions import Subscription, subscription_in_force
from runtime.clock import rfc3339
from runtime.ids import TenantId


class InvoicePeriod(Struct, frozen=True):
    """Half-open: `from` inclusive, `to` exclusive."""

    from_: str = field(name="from")
    to: str


class InvoicePlan(Struct, frozen=True):
    """The version of a plan that was rated by."""

    name: str
    version: int


class InvoiceLine(Struct, frozen=True, omit_defaults=True):
    """One line: `billable` units at `unit_price` for `per` of them; a line of kind `usage` names its meter."""

    kind: Literal["base_fee", "usage"]
    quantity: str
    unit: str
    included: str
    billable: str
    unit_price: Money
    per: str
    amount: Money
    meter: str | None = None


class Invoice(Struct, frozen=True):
    """What a tenant owes for a period; every `amount` has the minor units of the currency, and lines add up to the total."""

    id: str
    period: InvoicePeriod
    timezone: str
    plan: InvoicePlan
    currency: str
    lines: list[InvoiceLine]
    subtotal: Money
    total: Money
    as_of: str


async def current_invoice(connection: AsyncConnection, tenant: TenantId, now: datetime) -> Invoice:
    """The running period's invoice as if the period ended now: the whole base fee and the usage so far.

    Raises:
        NoSubscription: the tenant has none, or its last one ended.
    """
    subscription = await subscription_in_force(connection, tenant, now)
    period = period_containing(now, subscription.anchor_day, subscription.timezone)
    plan = await plan_by_id(connection, subscription.plan_id)
    usage = await totals_by_meter(connection, tenant, period.starts_at, period.ends_at)
    return invoice_as_of(now, subscription, period, plan, usage)


def invoice_as_of(now: datetime, subscription: Subscription, period: Period, plan: Plan, usage: Mapping[str, Decimal]) -> Invoice:
    """An invoice that was not issued, from the sums of its period."""
    lines = rate(plan, usage)
    total = money(sum(line.amount for line in lines), plan.currency)
    return Invoice(
        id="current",
        period=InvoicePeriod(rfc3339(period.starts_at), rfc3339(period.ends_at)),
        timezone=subscription.timezone,
        plan=InvoicePlan(plan.name, plan.version),
        currency=plan.currency,
        lines=[_shown(line, plan.currency) for line in lines],
        subtotal=total,
        total=total,
        as_of=rfc3339(now),
    )


def _shown(line: RatedLine, currency: str) -> InvoiceLine:
    return InvoiceLine(
        kind="base_fee" if line.meter is None else "usage",
        meter=line.meter,
        quantity=decimal_text(line.quantity),
        unit=line.unit,
        included=decimal_text(line.included),
        billable=decimal_text(line.billable),
        unit_price=price(line.unit_price, currency),
        per=decimal_text(line.per),
        amount=money(line.amount, currency),
    )
