import json
from decimal import Decimal
from pathlib import Path

import pytest

from tenants import tiers
from tenants.tiers import UnknownTier, registration_step, sender_tiers, tier

TABLE = json.loads((Path(tiers.__file__).parent / "tiers.json").read_text("utf-8"))


@pytest.mark.parametrize(
    ("name", "per_minute", "cap"),
    [
        ("unregistered", 60, None),
        ("sole_proprietor", 60, 1000),
        ("low_volume_mixed", 225, 2000),
        ("standard_50_74", 7200, 40000),
        ("standard_75_100", 13500, 200000),
        ("toll_free", 180, None),
        ("toll_free_pending", 0, None),
        ("short_code", 6000, None),
        ("special_trial", 6, None),
    ],
)
def test_rates_and_caps(name: str, per_minute: int, cap: int | None) -> None:
    row = tier(name)
    assert row.segments_per_minute == per_minute
    enforced = [day.segments for day in row.day_caps if day.enforced]
    assert enforced == ([] if cap is None else [cap])


def test_the_rate_per_minute_is_the_rate_per_second_exactly() -> None:
    for row in (*TABLE["tiers"], *TABLE["special_classes"]):
        assert Decimal(row["segments_per_second"]) * 60 == tier(row["name"]).segments_per_minute


def test_every_tier_is_there_and_senders_have_sms_tiers_only() -> None:
    names = {row["name"] for row in (*TABLE["tiers"], *TABLE["special_classes"])}
    assert set(sender_tiers()) == names - {"account_tree", "long_code_mms", "toll_free_mms", "whatsapp"}
    assert tier("whatsapp").segments_per_minute == 4800


def test_a_name_that_is_none_is_told() -> None:
    with pytest.raises(UnknownTier, match="platinum"):
        tier("platinum")


def test_the_day_of_a_brand_ends_at_midnight_pacific() -> None:
    caps = tier("sole_proprietor").day_caps
    assert {(cap.carrier, cap.segments, cap.enforced) for cap in caps} == {("t-mobile", 1000, True), ("all", 3000, False)}
    assert {cap.timezone.key for cap in caps} == {"America/Los_Angeles"}


def test_blocked_destinations_decide_where_a_text_may_go() -> None:
    assert not tier("unregistered").sends_to("US")
    assert not tier("unregistered").sends_to("PR")
    assert tier("unregistered").sends_to("CA")
    assert not tier("toll_free_pending").sends_to("GB")  # its rate is 0
    assert tier("standard_1_24").sends_to("US")


@pytest.mark.parametrize(
    ("name", "words"),
    [("unregistered", "brand and campaign"), ("toll_free_pending", "approves the toll-free"), ("toll_free_unverified", "Submit")],
)
def test_the_step_to_take_is_named(name: str, words: str) -> None:
    assert words in registration_step(tier(name))


def test_every_step_is_one_sentence() -> None:
    for row in sender_tiers().values():
        assert registration_step(row).count(".") == 1
