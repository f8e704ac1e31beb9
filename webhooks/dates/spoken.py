"""Dates and times as they are said."""

from datetime import date, datetime, time


def day(value: date) -> str:
    """`Friday, November 27, 2026`."""
    return f"{value:%A, %B} {value.day}, {value.year}"


def clock(value: datetime | time) -> str:
    """`3:00 PM`."""
    return f"{value.hour % 12 or 12}:{value:%M} {'AM' if value.hour < 12 else 'PM'}"  # noqa: PLR2004  noon
