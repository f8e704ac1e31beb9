"""When a text may leave: every rule of the data, in the recipient's wall time, around the days on which clocks change and years end."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from messaging.acceptance import accept_text
from messaging.quiet_hours import allowed, next_allowed, put_off
from runtime import clock
from tenants.hours import Hours, Span
from tenants.quiet_hours import QuietHours
from tenants.snapshot import Snapshot
from tests.webhooks.snapshots import sender, snapshot
from webhooks.tools import prepare

NY, LA, CO, AZ, HI, DC, IL, TX, KY, RI, FL = (
    "+12125550101", "+13235550101", "+13035550101", "+16025550101", "+18085550101", "+12025550101", "+13125550101", "+15125550101",
    "+15025550101", "+14015550101", "+13055550101",
)  # fmt: skip
MS, AL, NOLA, CT, NV, PA, WA, NM, PENSACOLA, INDIANA, ALASKA = (
    "+16015550101", "+12055550101", "+15045550101", "+12035550101", "+17025550101", "+12155550101", "+12065550101", "+15055550101",
    "+18505550101", "+12195550101", "+19075550101",
)  # fmt: skip
PR, GUAM, TOLL_FREE, NEW_AREA, TORONTO, LONDON = (
    "+17875550101", "+16715550101", "+18335550101", "+14575550101", "+14165550101", "+442079460101",
)  # fmt: skip

# recipient, the instant, and the first allowed instant after it; None: it is allowed. Class marketing, a tenant in Los Angeles.
MARKETING: list[tuple[str, str, str | None]] = [
    # the federal rule: 8 to 21
    (NY, "2026-06-03T07:59-04:00", "2026-06-03T08:00-04:00"),
    (NY, "2026-06-03T08:00-04:00", None),
    (NY, "2026-06-03T20:59-04:00", None),
    (NY, "2026-06-03T21:00-04:00", "2026-06-04T08:00-04:00"),
    (NY, "2026-06-03T23:30-04:00", "2026-06-04T08:00-04:00"),
    (NY, "2026-06-04T00:00-04:00", "2026-06-04T08:00-04:00"),
    (NY, "2026-06-07T09:00-04:00", None),  # a Sunday
    (CO, "2026-06-03T07:30-06:00", "2026-06-03T08:00-06:00"),
    (DC, "2026-06-03T21:30-04:00", "2026-06-04T08:00-04:00"),
    (AZ, "2026-06-03T07:30-07:00", "2026-06-03T08:00-07:00"),
    (AZ, "2026-12-03T07:30-07:00", "2026-12-03T08:00-07:00"),  # no summer time
    (HI, "2026-06-03T21:00-10:00", "2026-06-04T08:00-10:00"),
    (PR, "2026-06-03T07:00-04:00", "2026-06-03T08:00-04:00"),
    (PR, "2026-12-03T21:10-04:00", "2026-12-04T08:00-04:00"),
    (GUAM, "2026-06-03T22:00+10:00", "2026-06-04T08:00+10:00"),
    # the clocks are put forward, and back
    (NY, "2026-03-07T22:00-05:00", "2026-03-08T08:00-04:00"),
    (NY, "2026-03-08T01:59-05:00", "2026-03-08T08:00-04:00"),
    (NY, "2026-03-08T03:00-04:00", "2026-03-08T08:00-04:00"),
    (NY, "2026-03-08T20:59-04:00", None),
    (NY, "2026-10-31T21:00-04:00", "2026-11-01T08:00-05:00"),
    (NY, "2026-11-01T01:30-04:00", "2026-11-01T08:00-05:00"),
    (NY, "2026-11-01T01:30-05:00", "2026-11-01T08:00-05:00"),
    (LA, "2027-03-13T23:00-08:00", "2027-03-14T09:00-07:00"),
    (LA, "2027-11-06T23:00-07:00", "2027-11-07T09:00-08:00"),
    (TX, "2026-03-07T21:30-06:00", "2026-03-08T12:00-05:00"),  # a Sunday too
    # the year's end
    (NY, "2026-12-31T21:00-05:00", "2027-01-01T08:00-05:00"),
    (CT, "2026-12-31T23:59-05:00", "2027-01-01T09:00-05:00"),
    (NOLA, "2026-12-31T20:00-06:00", "2027-01-02T08:00-06:00"),  # New Year's Day is a holiday
    # 8 to 20
    (FL, "2026-06-03T19:59-04:00", None),
    (FL, "2026-06-03T20:00-04:00", "2026-06-04T08:00-04:00"),
    (WA, "2026-06-03T20:30-07:00", "2026-06-04T08:00-07:00"),
    (PENSACOLA, "2026-06-03T08:30-04:00", "2026-06-03T09:00-04:00"),  # Florida, in one of two zones: 8 in Chicago is 9 in New York
    (PENSACOLA, "2026-06-03T19:30-04:00", None),
    (PENSACOLA, "2026-06-03T20:00-04:00", "2026-06-04T09:00-04:00"),
    # not on Sundays, not on holidays
    (MS, "2026-06-06T19:59-05:00", None),
    (MS, "2026-06-06T20:00-05:00", "2026-06-08T08:00-05:00"),
    (MS, "2026-06-07T12:00-05:00", "2026-06-08T08:00-05:00"),
    (MS, "2026-12-25T12:00-06:00", None),
    (AL, "2026-06-07T00:00-05:00", "2026-06-08T08:00-05:00"),
    (NOLA, "2026-06-07T12:00-05:00", "2026-06-08T08:00-05:00"),
    (NOLA, "2026-12-25T12:00-06:00", "2026-12-26T08:00-06:00"),
    (NOLA, "2026-11-26T12:00-06:00", "2026-11-27T08:00-06:00"),  # Thanksgiving
    (NOLA, "2026-02-17T12:00-06:00", "2026-02-18T08:00-06:00"),  # Mardi Gras
    (NOLA, "2026-04-03T12:00-05:00", "2026-04-04T08:00-05:00"),  # Good Friday
    (NOLA, "2027-07-04T12:00-05:00", "2027-07-06T08:00-05:00"),  # a Sunday, so its Monday is kept
    (NOLA, "2026-05-25T12:00-05:00", "2026-05-26T08:00-05:00"),  # the last Monday of May
    (NEW_AREA, "2026-06-07T12:00-05:00", "2026-06-08T08:00-05:00"),  # an overlay of Louisiana that the library does not know
    (PA, "2026-10-11T12:00-04:00", None),  # a Sunday before its rule
    (PA, "2026-10-17T21:00-04:00", "2026-10-19T08:00-04:00"),
    (PA, "2026-10-18T12:00-04:00", "2026-10-19T08:00-04:00"),
    # 9 to 20, 9 to 21, 10 to 21
    (CT, "2026-06-03T08:30-04:00", "2026-06-03T09:00-04:00"),
    (NV, "2026-06-03T20:00-07:00", "2026-06-04T09:00-07:00"),
    (LA, "2026-06-03T08:59-07:00", "2026-06-03T09:00-07:00"),
    (LA, "2026-06-03T20:59-07:00", None),
    (IL, "2026-06-03T08:15-05:00", "2026-06-03T09:00-05:00"),
    (NM, "2026-06-03T21:00-06:00", "2026-06-04T09:00-06:00"),
    (KY, "2026-06-03T09:59-04:00", "2026-06-03T10:00-04:00"),
    (KY, "2026-06-03T20:59-04:00", None),
    # Texas and Rhode Island
    (TX, "2026-06-03T08:30-05:00", "2026-06-03T09:00-05:00"),
    (TX, "2026-06-06T20:59-05:00", None),
    (TX, "2026-06-06T21:00-05:00", "2026-06-07T12:00-05:00"),
    (TX, "2026-06-07T11:59-05:00", "2026-06-07T12:00-05:00"),
    (RI, "2026-06-05T17:59-04:00", None),
    (RI, "2026-06-05T18:00-04:00", "2026-06-06T10:00-04:00"),
    (RI, "2026-06-07T17:00-04:00", "2026-06-08T09:00-04:00"),
    # several zones: all have to allow it
    (INDIANA, "2026-06-03T08:30-04:00", "2026-06-03T09:00-04:00"),
    (ALASKA, "2026-06-03T08:30-08:00", "2026-06-03T10:00-08:00"),  # the Aleutians keep another time, an exchange of theirs Hawaii's
    # no zone: the tenant's; no rule: none
    (TOLL_FREE, "2026-06-03T07:00-07:00", "2026-06-03T08:00-07:00"),
    (TOLL_FREE, "2026-06-03T20:00-07:00", None),
    (TORONTO, "2026-06-03T03:00-04:00", None),
    (LONDON, "2026-06-03T03:00+01:00", None),
]

EVENINGS = QuietHours(Hours({day: (Span("17:00", "20:00"),) for day in ("monday", "tuesday", "wednesday", "thursday", "friday")}))
NIGHTS = QuietHours(Hours({"friday": (Span("22:00", "02:00"),)}), ("transactional",))
OFFICE = QuietHours(Hours(EVENINGS.hours.week, {"2026-12-24": (), "2026-12-25": ()}), ("transactional", "marketing"))

OWN: list[tuple[QuietHours, str, str, str, str | None]] = [
    (EVENINGS, NY, "marketing", "2026-06-03T12:00-04:00", "2026-06-03T17:00-04:00"),
    (EVENINGS, NY, "marketing", "2026-06-05T20:00-04:00", "2026-06-08T17:00-04:00"),
    (EVENINGS, RI, "marketing", "2026-06-03T18:00-04:00", "2026-06-04T17:00-04:00"),  # Rhode Island's own hours end at 18
    (EVENINGS, NY, "transactional", "2026-06-03T03:00-04:00", None),
    (EVENINGS, LONDON, "marketing", "2026-06-03T12:00+01:00", "2026-06-03T17:00+01:00"),  # beyond the US because the tenant says so
    (EVENINGS, TORONTO, "marketing", "2026-03-06T20:00-05:00", "2026-03-09T17:00-04:00"),
    (NIGHTS, NY, "transactional", "2026-06-06T01:59-04:00", None),  # what began on Friday
    (NIGHTS, NY, "transactional", "2026-06-06T02:00-04:00", "2026-06-12T22:00-04:00"),
    (NIGHTS, NY, "marketing", "2026-06-03T12:00-04:00", None),
    (OFFICE, NY, "transactional", "2026-12-23T20:00-05:00", "2026-12-28T17:00-05:00"),
    (OFFICE, TOLL_FREE, "transactional", "2026-12-23T19:59-08:00", None),
    (OFFICE, NY, "otp", "2026-12-24T03:00-05:00", None),
]


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(("to", "at", "later"), MARKETING)
def test_the_laws_hours(to: str, at: str, later: str | None) -> None:
    tenant = snapshot()
    assert allowed(tenant, to, "marketing", instant(at)) == (later is None)
    assert next_allowed(tenant, to, "marketing", instant(at)) == instant(later or at)
    for other in ("transactional", "otp"):
        assert put_off(tenant, to, other, instant(at)) == instant(at)


@pytest.mark.parametrize(("own", "to", "message_class", "at", "later"), OWN)
def test_a_tenants_own_hours(own: QuietHours, to: str, message_class: str, at: str, later: str | None) -> None:
    assert put_off(snapshot(quiet_hours=own), to, message_class, instant(at)) == instant(later or at)


def test_hours_that_leave_nothing_beside_the_law_yield_to_it() -> None:
    early = QuietHours(Hours({"monday": (Span("05:00", "07:00"),)}))
    at = "2026-06-03T23:00-04:00"
    assert next_allowed(snapshot(quiet_hours=early), NY, "marketing", instant(at)) == instant("2026-06-04T08:00-04:00")


def test_hours_that_no_minute_of_all_zones_has_hold_in_the_tenants_own() -> None:
    hour = QuietHours(Hours({"monday": (Span("09:00", "10:00"),)}))
    russia, at = "+79995550101", "2026-06-03T23:00-07:00"  # eleven zones
    assert next_allowed(snapshot(quiet_hours=hour), russia, "marketing", instant(at)) == instant("2026-06-08T09:00-07:00")


@pytest.mark.parametrize(("mode", "later"), [("enforce", "2026-06-04T08:00-04:00"), ("observe", None), ("off", None)])
def test_the_switch_decides_whether_it_is_put_off(mode: str, later: str | None) -> None:
    at = "2026-06-03T23:00-04:00"
    assert put_off(snapshot(switches={"quiet_hours": mode}), NY, "marketing", instant(at)) == instant(later or at)


@pytest.fixture
def midnight(monkeypatch: pytest.MonkeyPatch) -> datetime:
    """It is midnight in New York, on a Wednesday."""
    moment = instant("2026-06-03T00:00-04:00")
    monkeypatch.setattr(clock, "now", lambda: moment)
    return moment


def accepted(tenant: Snapshot, **more: Any) -> tuple[datetime | None, datetime]:
    text = accept_text(tenant, NY, "Ten percent off. Reply STOP to opt out.", **{"message_class": "marketing", **more})
    return text.due_at, text.expected_at


def test_what_is_accepted_at_night_is_scheduled_for_the_morning(midnight: datetime) -> None:
    tenant, morning = snapshot(sender()), instant("2026-06-03T08:00-04:00")
    assert accepted(tenant) == (morning, morning)
    assert accepted(tenant, send_at=instant("2026-06-03T07:00-04:00")) == (morning, morning)
    noon = instant("2026-06-03T12:00-04:00")
    assert accepted(tenant, send_at=noon) == (noon, noon)
    assert accepted(tenant, message_class="transactional") == (None, midnight)


def test_a_queue_that_lasts_into_the_night_ends_in_the_morning(monkeypatch: pytest.MonkeyPatch) -> None:
    evening = instant("2026-06-03T20:00-04:00")
    monkeypatch.setattr(clock, "now", lambda: evening)
    slow = sender(segments_per_minute=60, queued_segments=7_200)
    assert accepted(snapshot(slow)) == (None, instant("2026-06-04T08:00-04:00"))


def test_the_caller_hears_when_it_leaves(midnight: datetime) -> None:
    tenant = snapshot(sender(), zone=ZoneInfo("America/New_York"), quiet_hours=OFFICE)
    said = prepare(tenant, "send_sms", NY, {"body": "See you."}, moment=midnight)
    assert said.result == "Scheduled, leaves on Wednesday, June 3, 2026, 5:00 PM."
    theirs = prepare(snapshot(sender()), "send_sms", NY, {"body": "See you."}, moment=midnight)
    assert theirs.result == "Queued, leaves now."
