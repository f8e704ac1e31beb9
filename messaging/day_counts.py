"""A registration's segments of the day, counted beside the pacer's slots, and the operator's caps; the day ends at midnight in Los Angeles.

T-Mobile caps the day of a brand, but the carrier of a number cannot be read from it: that count is shown and does not refuse. A cap of the
operator's holds for all carriers, and a share of it is kept for one-time codes.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Protocol, TypeVar
from urllib.parse import quote
from uuid import UUID
from zoneinfo import ZoneInfo

from messaging.pacer import DayCap, Grant, Slot

PACIFIC = ZoneInfo("America/Los_Angeles")
COUNTED_ONLY = 10**9
KEPT_FOR_CODES = 10  # per cent of a cap
LOOK_FOR_CODES = 5.0  # seconds between looks while only codes may leave
LOOK_FOR_NOTHING = 60.0  # seconds between looks while nothing may: a cap that is raised is looked at by itself


class AskedFor(Protocol):
    """A message that wants a slot."""

    @property
    def id(self) -> UUID:
        """Which."""

    @property
    def segments(self) -> int:
        """How long it is."""


Text = TypeVar("Text", bound=AskedFor)
Ask = Callable[[list[int], list[DayCap]], Awaitable[Grant]]


@dataclass(frozen=True, slots=True)
class DayCaps:
    """What app.day_caps_v1 says of a registration: its own cap, its brand and the brand's; `codes` are the one-time codes of a pick."""

    registration_cap: int | None = None
    brand: str | None = None
    brand_cap: int | None = None
    codes: Collection[UUID] = ()

    @property
    def capped(self) -> bool:
        """Whether any cap holds."""
        return self.registration_cap is not None or self.brand_cap is not None


def day_count(registration_id: UUID, cap: int = COUNTED_ONLY) -> DayCap:
    """The present day's counter of a registration."""
    return DayCap.on(str(registration_id), cap, PACIFIC)


def brand_count(brand: str, cap: int = COUNTED_ONLY) -> DayCap:
    """The present day's counter of all registrations of a tenant that share a brand."""
    return DayCap.on(f"brand:{quote(brand, safe='')}", cap, PACIFIC)


def usable(cap: int | None, *, codes: bool) -> int:
    """What of a cap a message may use: all of it a one-time code, the rest what is not kept for codes."""
    if cap is None:
        return COUNTED_ONLY
    return cap if codes else cap - -(-cap * KEPT_FOR_CODES // 100)


def counters(registration_id: UUID, caps: DayCaps, *, codes: bool) -> list[DayCap]:
    """The counters that a message counts against; a brand is counted also while nothing caps it, so that a new cap knows the day."""
    found = [day_count(registration_id, usable(caps.registration_cap, codes=codes))]
    if caps.brand is not None:
        found.append(brand_count(caps.brand, usable(caps.brand_cap, codes=codes)))
    return found


async def reserve(ask: Ask, registration_id: UUID, asked: Sequence[Text], caps: DayCaps) -> tuple[list[tuple[Text, Slot]], Grant]:
    """Slots for these messages, in order, as far as rate and day allow; codes still get theirs where the others' share is used up.

    `ask` reserves at the pacer for so many segments each, against these counters. Gives each message that got a slot with it, and a grant
    that says when to ask again.
    """
    if not caps.capped:
        grant = await ask([each.segments for each in asked], counters(registration_id, caps, codes=False))
        return list(zip(asked, grant.slots, strict=False)), grant
    given: list[tuple[Text, Slot]] = []
    again: list[Grant] = []
    owed = 0.0
    for codes, group in groupby(asked, key=lambda each: each.id in caps.codes):
        some = list(group)
        grant = await ask([each.segments for each in some], counters(registration_id, caps, codes=codes))
        given += zip(some, grant.slots, strict=False)
        owed = max(owed, grant.owed)
        if grant.retry_in is not None:
            again.append(until_look(grant, codes=codes))
            if not used_up(grant):
                break  # the rate holds whatever comes after, too
    if not again:
        return given, Grant((), None, None, owed)
    by_rate = [grant for grant in again if not used_up(grant)]
    last = (by_rate or sorted(again, key=lambda grant: grant.retry_in or 0.0))[-1]
    return given, replace(last, owed=owed)


def used_up(grant: Grant) -> bool:
    """Whether a cap of the day refused."""
    return grant.refused is not None and grant.refused.startswith("day_cap:")


def until_look(grant: Grant, *, codes: bool) -> Grant:
    """When to look again: not only at midnight where a cap refused, since a code may come that still fits."""
    if not used_up(grant) or grant.retry_in is None:
        return grant
    return replace(grant, slots=(), retry_in=min(grant.retry_in, LOOK_FOR_NOTHING if codes else LOOK_FOR_CODES))
