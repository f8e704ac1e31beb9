"""What a tenant used, as `GET /v1/usage` shows it."""

from datetime import datetime
from decimal import Decimal
from typing import Literal

from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from billing import ledger
from billing.meters import place_of, unit_of
from billing.money import decimal_text
from billing.subscriptions import subscription_in_force
from runtime.ids import TenantId

GroupBy = Literal["day"]


class UsageItem(Struct, frozen=True, omit_defaults=True):
    """One meter's sum: `{"meter": "call_seconds", "quantity": "58.72", "unit": "s"}`; with a grouping also `"group": "2026-03-31"`."""

    meter: str
    quantity: str
    unit: str
    group: str | None = None


async def usage_by_meter(
    connection: AsyncConnection, tenant: TenantId, since: datetime, until: datetime, group_by: GroupBy | None = None
) -> list[UsageItem]:
    """One item per meter with usage in `[since, until)`, in the order of METERS; by day one per (day, meter), days first.

    A day is one of the tenant's billing zone.

    Raises:
        NoSubscription: days are asked for and the tenant has no billing zone.
    """
    if group_by is None:
        totals = await ledger.totals_by_meter(connection, tenant, since, until)
        return [_item(meter, totals[meter], None) for meter in sorted(totals, key=place_of)]
    subscription = await subscription_in_force(connection, tenant, until)
    days = await ledger.totals_by_day(connection, tenant, since, until, subscription.timezone)
    return [_item(meter, days[day, meter], day) for day, meter in sorted(days, key=lambda key: (key[0], place_of(key[1])))]


def _item(meter: str, quantity: Decimal, group: str | None) -> UsageItem:
    return UsageItem(meter, decimal_text(quantity), unit_of(meter), group)
