"""What usage costs under a plan: pure arithmetic in exact numbers, rounded once per line."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal, Inexact
from fractions import Fraction

from billing.meters import unit_of
from billing.money import rounded_half_up
from billing.plan_terms import Price
from billing.plans import Plan

EXACT = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[Inexact])  # the default context would cut the 29th digit
NOTHING = Decimal(0)
ONE = Decimal(1)


@dataclass(frozen=True, slots=True)
class RatedLine:
    """One line: of `quantity` units `billable` exceed the `included` ones and cost `amount` minor units of the plan's currency.

    The base fee is a line without a meter.
    """

    meter: str | None
    unit: str
    quantity: Decimal
    included: Decimal
    billable: Decimal
    unit_price: Decimal
    per: Decimal
    amount: int


def rate(plan: Plan, usage: Mapping[str, Decimal]) -> list[RatedLine]:
    """The base fee, then one line for each meter that the plan prices; other meters cost nothing.

    Args:
        plan: the version that the subscription is pinned to.
        usage: the ledger's sum of each meter over the period.
    """
    base_fee = RatedLine(None, "periods", ONE, NOTHING, ONE, plan.base_fee, ONE, rounded_half_up(Fraction(plan.base_fee), plan.currency))
    return [base_fee, *(rated(price, usage.get(price.meter, NOTHING), plan.currency) for price in plan.prices)]


def rated(price: Price, quantity: Decimal, currency: str) -> RatedLine:
    """The line of one meter; a quantity that corrections took below what is included costs nothing and earns nothing."""
    billable = max(EXACT.subtract(quantity, price.included), NOTHING)
    exact = Fraction(billable) * Fraction(price.unit_price) / Fraction(price.per)
    amount = rounded_half_up(exact, currency)
    return RatedLine(price.meter, unit_of(price.meter), quantity, price.included, billable, price.unit_price, price.per, amount)
