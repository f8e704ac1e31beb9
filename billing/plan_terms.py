"""Which terms a plan may have: prices that are numbers, of meters that exist, in a currency that exists."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from billing.meters import METERS
from billing.money import MINOR_DIGITS
from runtime.refusals import Invalid

PLAN_NAME = re.compile(r"[a-z0-9](?:[-_]?[a-z0-9])*")
LONGEST_NAME = 63
MOST_DECIMALS = 12  # what payment providers take for a unit price
LIMIT = Decimal(10**12)


@dataclass(frozen=True, slots=True)
class Price:
    """Of a meter `included` units are free in each period; beyond them `per` units cost `unit_price`, and parts of them their part."""

    meter: str
    included: Decimal
    unit_price: Decimal
    per: Decimal = Decimal(1)


def check_terms(name: str, currency: str, base_fee: Decimal, prices: Sequence[Price]) -> None:
    """Refuse terms that could not be charged.

    Raises:
        Invalid: every wrong place by its pointer (`/currency`, `/prices/0/per`).
    """
    wrong = list(_wrong_places(name, currency, base_fee, prices))
    if wrong:
        raise Invalid("The request is not valid.", wrong)


def _wrong_places(name: str, currency: str, base_fee: Decimal, prices: Sequence[Price]) -> Iterator[tuple[str, str]]:
    if len(name) > LONGEST_NAME or not PLAN_NAME.fullmatch(name):
        yield "/name", f"A plan's name is at most {LONGEST_NAME} small letters and digits, with single hyphens or underscores between."
    if currency not in MINOR_DIGITS:
        yield "/currency", f"{currency!r} is no currency code in use (ISO 4217)."
    yield from _wrong_number("/base_fee", base_fee)
    seen: set[str] = set()
    for place, price in enumerate(prices):
        if price.meter not in METERS:
            yield f"/prices/{place}/meter", f"There is no meter {price.meter!r}; there are {', '.join(METERS)}."
        elif price.meter in seen:
            yield f"/prices/{place}/meter", f"{price.meter} has a price already."
        seen.add(price.meter)
        yield from _wrong_number(f"/prices/{place}/included", price.included)
        yield from _wrong_number(f"/prices/{place}/unit_price", price.unit_price)
        yield from _wrong_number(f"/prices/{place}/per", price.per)
        if price.per == 0:
            yield f"/prices/{place}/per", "A price is for more than zero units."


def _wrong_number(pointer: str, number: Decimal) -> Iterator[tuple[str, str]]:
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int) or not 0 <= number < LIMIT or exponent < -MOST_DECIMALS:
        yield pointer, f"A number from 0 to less than {LIMIT}, with at most {MOST_DECIMALS} decimals."
