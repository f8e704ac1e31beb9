"""What a Twilio registration grants: the rate, the day caps, the destinations that are closed until the next step is taken.

The figures and their sources stand in tiers.json; rates are whole segments per minute, exact for every tier. The operator may define
tiers of its own beside them: those stand in the database (tenants/own_tiers.py) and reach a process with the tenant's snapshot.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal
from zoneinfo import ZoneInfo

import msgspec

Scope = Literal["account_tree", "campaign", "number", "sender", "short_code"]

CARRIERS_DAY = ZoneInfo("America/Los_Angeles")
_NOT_SMS_SENDERS = frozenset({"account_tree", "long_code_mms", "toll_free_mms", "whatsapp"})


class UnknownTier(LookupError):
    """No tier has that name."""


@dataclass(frozen=True, slots=True)
class DayCap:
    """Segments per local day; `enforced` caps make the carrier refuse, estimates are warned of and slowed at, never promised.

    `carrier` is `t-mobile` or `all`, as of an operator's own tier, whose cap this service itself keeps. `scope` says who shares the
    count (`brand`: every campaign and provider of it).
    The day ends at 00:00 in `timezone`, daylight saving included.
    """

    carrier: str
    segments: int
    scope: str
    timezone: ZoneInfo
    enforced: bool


@dataclass(frozen=True, slots=True)
class Tier:
    """One row of tiers.json, or one of the operator's `own`. At `blocked_destinations` (ISO regions) its texts fail with `error_code`."""

    name: str
    description: str
    segments_per_minute: int
    scope: Scope
    day_caps: tuple[DayCap, ...]
    blocked_destinations: frozenset[str]
    error_code: int | None
    own: bool = False

    def sends_to(self, region: str) -> bool:
        """Whether a text to that region may leave at all."""
        return self.segments_per_minute > 0 and region not in self.blocked_destinations


class OwnTier(msgspec.Struct, frozen=True):
    """A tier that the operator defined, as the tenant's snapshot carries it; `day_cap_scope` is `brand` or `registration`."""

    name: str
    description: str
    per_minute: int
    day_cap: int | None = None
    day_cap_scope: str | None = None
    blocked_destinations: tuple[str, ...] = ()

    @property
    def facts(self) -> Tier:
        """As a row of tiers.json would say it."""
        caps = () if self.day_cap is None else (DayCap("all", self.day_cap, self.day_cap_scope or "", CARRIERS_DAY, enforced=True),)
        blocked = frozenset(self.blocked_destinations)
        return Tier(self.name, self.description, self.per_minute, "campaign", caps, blocked, error_code=None, own=True)


def tier(name: str) -> Tier:
    """The tier of that name; raises UnknownTier."""
    try:
        return _tiers()[name]
    except KeyError:
        raise UnknownTier(f"There is no tier named {name!r}.") from None


def sender_tiers() -> Mapping[str, Tier]:
    """The tiers that an SMS sender can have: without MMS, WhatsApp and the limit over a whole account tree."""
    return MappingProxyType({name: row for name, row in _tiers().items() if name not in _NOT_SMS_SENDERS})


def is_built_in(name: str) -> bool:
    """Whether tiers.json has it, also where no SMS sender can have it: the operator's own must be told from all of them."""
    return name in _tiers()


def registration_step(row: Tier) -> str:
    """What the tenant does so that its texts may leave, or leave faster; one sentence."""
    if row.own:
        return "Ask the operator of this service, who set the limits of this sender."
    if row.name not in _STEPS and row.scope == "campaign":
        return "Ask Twilio for secondary vetting of the brand; a better trust score gives the campaign a higher rate."
    other = "Ask Twilio about the throughput of this sender, or send from a registered A2P 10DLC campaign."
    return _STEPS.get(row.name, other)


_BIGGER_BRAND = "Register a standard A2P 10DLC brand with a company's tax number to get a higher rate."
_STEPS = {
    "unregistered": "Register an A2P 10DLC brand and campaign with Twilio and attach this number to the campaign.",
    "toll_free_pending": "Wait until Twilio approves the toll-free verification of this number, then set its tier to toll_free.",
    "toll_free_unverified": "Submit the toll-free verification of this number to Twilio and finish it.",
    "sole_proprietor": _BIGGER_BRAND,
    "special_trial": _BIGGER_BRAND,
}


@cache
def _tiers() -> Mapping[str, Tier]:
    table = json.loads((Path(__file__).parent / "tiers.json").read_text("utf-8"))
    rows = [_tier(row) for row in (*table["tiers"], *table["special_classes"])]
    return MappingProxyType({row.name: row for row in rows})


def _tier(row: dict[str, Any]) -> Tier:
    return Tier(
        name=row["name"],
        description=row["description"],
        segments_per_minute=row["segments_per_minute"],
        scope=row["scope"],
        day_caps=tuple(_day_cap(cap) for cap in row["day_caps"]),
        blocked_destinations=frozenset(row.get("blocked_destinations", ())),
        error_code=row.get("error_code"),
    )


def _day_cap(row: dict[str, Any]) -> DayCap:
    if row["resets_at"] != "00:00":
        raise ValueError("tiers.json: a day cap that does not end at midnight is not understood")
    return DayCap(row["carrier"], row["segments"], row["scope"], ZoneInfo(row["timezone"]), enforced=row["kind"] == "enforced")
