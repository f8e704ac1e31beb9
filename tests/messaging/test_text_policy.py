"""Whom a model may text: by the tenant's policy, and never at a price of the number's own."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from messaging import text_policy
from messaging.text_policy import day_from, refusal
from tenants.text_policy import TextPolicy
from tests.webhooks.snapshots import sender, snapshot

CALLER = "+12135550123"
CANADA, PUERTO_RICO, GERMANY = "+16135550123", "+17875550123", "+4930123456"


def reason(to: str, caller: str | None = CALLER, body: str = "Hi", from_number: str | None = "55100", **policy: Any) -> str | None:
    refused = refusal(snapshot(sender(from_number=from_number), text_policy=TextPolicy(**policy)), caller, to, body)
    if refused is None:
        return None
    assert refused.sentence.splitlines() == [refused.sentence]
    return refused.reason


@pytest.mark.parametrize(
    ("to", "caller", "policy", "found"),
    [
        ("+12125550100", CALLER, {}, None),
        (PUERTO_RICO, CALLER, {}, None),
        (CANADA, CALLER, {}, "destination"),
        (GERMANY, CALLER, {}, "destination"),
        (GERMANY, GERMANY, {}, None),
        (CANADA, "(613) 555-0123", {}, None),
        (GERMANY, None, {}, "destination"),
        (CANADA, CALLER, {"from_number": "+16135550199"}, None),  # the tenant's number is Canadian
        ("+12125550100", CALLER, {"from_number": "+16135550199"}, "destination"),
        (CANADA, CALLER, {"from_number": "+16135550199", "country": "US"}, None),  # the number tells, not the setting
        (CANADA, CALLER, {"from_number": None, "country": "CA"}, None),
        ("+12125550100", CALLER, {"from_number": None}, None),
        (CALLER, CALLER, {"destinations": "caller"}, None),
        ("+12125550100", CALLER, {"destinations": "caller"}, "destination"),
        ("+12125550100", None, {"destinations": "caller"}, "destination"),
        ("+12125550100", "anonymous", {"destinations": "caller"}, "destination"),
        (CANADA, CALLER, {"destinations": "countries", "countries": ("CA",)}, None),
        (CALLER, CALLER, {"destinations": "countries", "countries": ("CA",)}, "destination"),
        (PUERTO_RICO, CALLER, {"destinations": "countries", "countries": ("US",)}, None),
        (GERMANY, CALLER, {"destinations": "anyone"}, None),
        ("12", CALLER, {"destinations": "caller"}, None),  # no number at all: accepting says so
    ],
)
def test_whom_the_policy_lets_be_texted(to: str, caller: str | None, policy: dict[str, Any], found: str | None) -> None:
    assert reason(to, caller, **policy) == found


@pytest.mark.parametrize("policy", [{}, {"destinations": "anyone"}, {"destinations": "caller"}], ids=str)
@pytest.mark.parametrize(
    "to",
    [
        "+19005550123",  # 900
        "+19002345678",
        "+12139765555",  # the exchange 976
        "+15005550123",  # personal communications
        "+449098790000",  # the United Kingdom's premium rate
        "+447012345678",  # its personal numbers
        "+498001234567".replace("800", "900"),  # Germany's premium rate
        "+881612345678",  # a satellite
        "+870773111632",
        "+979123456789",  # international premium rate
    ],
)
def test_a_premium_number_is_never_texted_not_even_as_the_caller(to: str, policy: dict[str, Any]) -> None:
    assert reason(to, to, **policy) == "premium"


def test_no_area_code_of_a_state_is_premium() -> None:
    """520 is in Arizona, in the midst of the codes for personal communications."""
    areas = json.loads((Path(text_policy.__file__).parent / "area_codes.json").read_text("utf-8"))["states"]
    assert [area for codes in areas.values() for area in codes if text_policy.is_dear(f"+1{area}5550123", "US")] == []


@pytest.mark.parametrize("to", ["+12125550123", "+12139755555", "+13055550123", "+18005550123"])
def test_what_only_looks_like_premium_is_not(to: str) -> None:
    assert reason(to) is None


def test_links_lead_to_listed_hosts_where_there_is_a_list() -> None:
    assert reason(CALLER, body="evil.com") is None
    assert reason(CALLER, body="evil.com", link_hosts=("good.org",)) == "link"
    assert reason(CALLER, body="See www.good.org", link_hosts=("good.org",)) is None
    assert reason(CALLER, body="See www.good.org", link_hosts=()) == "link"


@pytest.mark.parametrize(
    ("zone", "moment", "begins"),
    [
        ("America/Los_Angeles", "2026-03-08T20:00:00+00:00", "2026-03-08T08:00:00+00:00"),  # a day of 23 hours
        ("America/Los_Angeles", "2026-11-02T07:59:59+00:00", "2026-11-01T07:00:00+00:00"),  # of 25
        ("America/Los_Angeles", "2026-11-02T08:00:00+00:00", "2026-11-02T08:00:00+00:00"),
        ("Pacific/Auckland", "2026-06-01T12:00:00+00:00", "2026-06-01T12:00:00+00:00"),
        ("UTC", "2026-06-01T23:59:59+00:00", "2026-06-01T00:00:00+00:00"),
    ],
)
def test_a_day_begins_at_the_tenants_midnight(zone: str, moment: str, begins: str) -> None:
    found = day_from(ZoneInfo(zone), datetime.fromisoformat(moment))
    assert (found, found.tzinfo) == (datetime.fromisoformat(begins), UTC)
