"""Shapes that several routes share."""

from datetime import UTC, datetime
from decimal import Decimal

import msgspec

from billing.money import Money, decimal_text, price
from runtime import clock
from runtime.refusals import Invalid

END = r"$(?!\n)"  # of a pattern: Python's $ alone also matches before a final line break


class Body(msgspec.Struct, forbid_unknown_fields=True):
    """A request body: a field it does not know is a mistake worth telling."""


def instant(pointer: str, value: datetime) -> datetime:
    """An instant that somebody gave us.

    Raises:
        Invalid: without its offset from UTC, or before the first or after the last instant there is in UTC.
    """
    if value.tzinfo is None:
        raise Invalid.at(pointer, "The time needs its offset from UTC, such as 2026-03-01T00:00:00Z.")
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise Invalid.at(pointer, "There is no such time.") from error


def moment(value: datetime | None) -> str | None:
    """An instant as the contract writes it."""
    return None if value is None else clock.rfc3339(value)


def decimal_or_none(value: Decimal | None) -> str | None:
    """A quantity as the contract writes it."""
    return None if value is None else decimal_text(value)


def dollars(value: Decimal | None) -> Money | None:
    """A cost in US dollars, with cents or as fine as it is."""
    return None if value is None else price(value, "USD")
