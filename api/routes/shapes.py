"""Shapes that several routes share."""

from datetime import datetime
from decimal import Decimal

import msgspec

from billing.money import Money, decimal_text, price
from runtime import clock


class Body(msgspec.Struct, forbid_unknown_fields=True):
    """A request body: a field it does not know is a mistake worth telling."""


def moment(value: datetime | None) -> str | None:
    """An instant as the contract writes it."""
    return None if value is None else clock.rfc3339(value)


def decimal_or_none(value: Decimal | None) -> str | None:
    """A quantity as the contract writes it."""
    return None if value is None else decimal_text(value)


def dollars(value: Decimal | None) -> Money | None:
    """A cost in US dollars, with cents or as fine as it is."""
    return None if value is None else price(value, "USD")
