"""Phrases as callers say them, in four zones, at the changes of the clocks and of the year."""

import json
import re
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from webhooks.dates.resolve import Resolved, resolve
from webhooks.dates.unclear import BadPhrase
from webhooks.dates.words import LONGEST

GROUPS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "data" / "phrases.json").read_text("utf-8"))
MEANS = [(each["zone"], each["said_at"], phrase, meant) for each in GROUPS for phrase, meant in each["means"].items()]
REFUSED = [(each["zone"], each["said_at"], phrase, words) for each in GROUPS for phrase, words in each["refused"].items()]
ZONES = sorted({each["zone"] for each in GROUPS})
LOS_ANGELES = ZoneInfo("America/Los_Angeles")
THURSDAY = datetime(2026, 11, 26, 10, 0, tzinfo=LOS_ANGELES)


def named(rows: list[tuple[str, str, str, str]]) -> list[str]:
    return [f"{zone} {said_at} {phrase}" for zone, said_at, phrase, _ in rows]


def test_the_table_is_large_and_in_four_zones() -> None:
    assert len(MEANS) >= 200
    assert ZONES == ["America/Los_Angeles", "America/New_York", "Asia/Kathmandu", "Australia/Sydney"]


@pytest.mark.parametrize(("zone", "said_at", "phrase", "meant"), MEANS, ids=named(MEANS))
def test_a_phrase_means_its_instant(zone: str, said_at: str, phrase: str, meant: str) -> None:
    found = resolve(phrase, ZoneInfo(zone), datetime.fromisoformat(said_at))
    assert (found.at.isoformat() if found.at else found.day.isoformat()) == meant
    assert found.day.isoformat() == meant[:10]
    assert f"({meant}, {zone})." in found.said
    assert found.said.startswith(f"{date.fromisoformat(meant[:10]):%A, %B} {int(meant[8:10])}, {meant[:4]}")


@pytest.mark.parametrize(("zone", "said_at", "phrase", "words"), REFUSED, ids=named(REFUSED))
def test_what_is_past_ambiguous_or_not_understood_is_refused_and_told(zone: str, said_at: str, phrase: str, words: str) -> None:
    with pytest.raises(BadPhrase) as refused:
        resolve(phrase, ZoneInfo(zone), datetime.fromisoformat(said_at))
    assert words in str(refused.value)
    assert "Ask " in str(refused.value)


def test_an_answer_reads_as_people_speak() -> None:
    assert resolve("tomorrow at 3", LOS_ANGELES, THURSDAY).said == (
        "Friday, November 27, 2026, 3:00 PM (2026-11-27T15:00:00-08:00, America/Los_Angeles)."
    )
    assert resolve("tomorrow morning", LOS_ANGELES, THURSDAY).said == (
        "Friday, November 27, 2026, in the morning (2026-11-27, America/Los_Angeles)."
    )
    assert resolve("next Friday", LOS_ANGELES, THURSDAY).said == (
        "Friday, December 4, 2026 (2026-12-04, America/Los_Angeles). The Friday before it is November 27, 2026."
    )


def test_a_time_that_the_clocks_skip_or_repeat_is_told() -> None:
    new_york = ZoneInfo("America/New_York")
    skipped = resolve("March 14 at 2:30 am", new_york, THURSDAY).said
    assert "(2027-03-14T03:30:00-04:00, America/New_York). The clocks go forward then and skip 2:30 AM" in skipped
    repeated = resolve("tomorrow at 1:30 am", new_york, datetime(2026, 10, 31, 18, 0, tzinfo=new_york)).said
    assert repeated.endswith("The clocks go back then and 1:30 AM comes twice; this is the first.")
    within = resolve("1:30 am", new_york, datetime(2026, 11, 1, 5, 40, tzinfo=UTC)).said
    assert within.endswith("this is the second.")


def test_the_bare_name_of_today_may_be_taken_for_today() -> None:
    assert resolve("Thursday", LOS_ANGELES, THURSDAY, today_counts=True).day == THURSDAY.date()


def test_what_is_too_long_is_refused_unread() -> None:
    with pytest.raises(BadPhrase, match="too long"):
        resolve("tomorrow " * LONGEST, LOS_ANGELES, THURSDAY)


WORDS = sorted({word for _, _, phrase, _ in MEANS for word in phrase.split()})
SAID = st.one_of(
    st.text(max_size=60),
    st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join),
    st.lists(st.one_of(st.sampled_from(WORDS), st.integers(0, 10**6).map(str)), max_size=5).map(" ".join),
    st.from_regex(re.compile(r"\d{1,4}[-/: .T]\d{1,4}([-/: .T]\d{1,4}){0,3}", re.ASCII), fullmatch=True),
    st.datetimes().map(datetime.isoformat),
    st.sampled_from([phrase for _, _, phrase, _ in MEANS]),
)
MOMENTS = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1)).map(lambda moment: moment.replace(tzinfo=UTC))  # noqa: DTZ001  made aware


def understood(phrase: str, zone: str, moment: datetime) -> Resolved | str:
    """What it means, or why it is refused."""
    try:
        return resolve(phrase, ZoneInfo(zone), moment)
    except BadPhrase as refused:
        return str(refused)


@given(SAID, st.sampled_from(ZONES), MOMENTS)
@example("9999-12-31", "Asia/Kathmandu", datetime(2026, 1, 1, tzinfo=UTC))
@example("0001-01-01T00:00:00+14:00", "Asia/Kathmandu", datetime(2026, 1, 1, tzinfo=UTC))
@example("²³rd", "Asia/Kathmandu", datetime(2026, 1, 1, tzinfo=UTC))
def test_whatever_is_said_is_not_past_the_same_each_time_and_on_one_line(phrase: str, zone: str, moment: datetime) -> None:
    found, again = (understood(phrase, zone, moment) for _ in range(2))
    assert found == again
    if isinstance(found, str):
        assert found.splitlines() == [found]
        return
    assert found.said.splitlines() == [found.said]
    assert found.day >= moment.astimezone(ZoneInfo(zone)).date()
    if found.at is not None:
        assert found.at >= moment
        assert found.at.utcoffset() == found.at.astimezone(ZoneInfo(zone)).utcoffset()


@given(MOMENTS, st.sampled_from(ZONES), st.integers(0, 23), st.integers(0, 59), st.integers(1, 300))
def test_a_wall_time_that_exists_once_is_that_wall_time(moment: datetime, zone: str, hour: int, minute: int, days: int) -> None:
    day = (moment.astimezone(ZoneInfo(zone)) + timedelta(days=days)).date()
    wall = datetime(day.year, day.month, day.day, hour, minute)  # noqa: DTZ001  a wall time
    early, late = (wall.replace(tzinfo=ZoneInfo(zone), fold=fold) for fold in (0, 1))
    found = resolve(f"{day.isoformat()} {hour:02}:{minute:02}", ZoneInfo(zone), moment)
    if early.utcoffset() == late.utcoffset():
        assert found.at == early
        assert "clocks" not in found.said
    else:
        assert "clocks" in found.said


WRITTEN = [
    "{0:%B} {0.day}",
    "{0:%b} {0.day}",
    "{0:%B} the {0.day}",
    "{0.day} {0:%B}",
    "{0.month}/{0.day}",
    "{0.month}/{0.day}/{0.year}",
    "{0}",
]


@given(st.integers(1, 300), st.sampled_from(WRITTEN), st.sampled_from(["in the morning", "in the afternoon", "in the evening", "at night"]))
def test_a_day_beside_a_part_of_the_day_is_not_taken_for_an_hour(days: int, written: str, part: str) -> None:
    day = THURSDAY.date() + timedelta(days=days)
    found = resolve(f"{written.format(day)} {part}", LOS_ANGELES, THURSDAY)
    assert (found.day, found.at, found.part) == (day, None, part.rsplit(maxsplit=1)[-1])
    assert resolve(f"{written.format(day)} 11 in the morning", LOS_ANGELES, THURSDAY).at == datetime.combine(day, time(11), LOS_ANGELES)
