"""Caps of a day: never exceeded, the codes' share kept from everybody else, and asked for in as few questions as there are groups."""

import asyncio
from dataclasses import dataclass
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.day_counts import COUNTED_ONLY, DayCaps, brand_count, counters, day_count, reserve, usable
from messaging.pacer import DayCap, Grant, Slot

REGISTRATION = UUID("01900000-0000-7000-8000-0000000000aa")


@dataclass(frozen=True)
class Wanted:
    """A message that wants a slot."""

    id: UUID
    segments: int


class Counts:
    """The pacer's counters and nothing else of it."""

    def __init__(self) -> None:
        self.used: dict[str, int] = {}

    async def ask(self, segments: list[int], caps: list[DayCap]) -> Grant:
        slots = []
        for each in segments:
            full = next((cap for cap in caps if self.used.get(cap.name, 0) + each > cap.segments), None)
            if full is not None:
                return Grant(tuple(slots), 40_000.0, f"day_cap:{full.name}")
            for cap in caps:
                self.used[cap.name] = self.used.get(cap.name, 0) + each
            slots.append(Slot("r", 0.0))
        return Grant(tuple(slots), None, None)


@given(
    picks=st.lists(st.lists(st.tuples(st.booleans(), st.integers(1, 10)), min_size=1, max_size=20), max_size=10),
    cap=st.integers(1, 200),
    brand_cap=st.none() | st.integers(1, 200),
)
def test_no_cap_is_exceeded_and_the_codes_share_is_theirs(picks: list[list[tuple[bool, int]]], cap: int, brand_cap: int | None) -> None:
    counts, others = Counts(), 0
    for pick in picks:
        asked = [Wanted(uuid4(), segments) for _, segments in pick]
        codes = {text.id for text, (code, _) in zip(asked, pick, strict=True) if code}
        caps = DayCaps(cap, "BN1", brand_cap, codes)
        given_slots, grant = asyncio.run(reserve(counts.ask, REGISTRATION, asked, caps))
        got = {text.id for text, _ in given_slots}
        others += sum(text.segments for text in asked if text.id in got - codes)
        assert (grant.retry_in is None) == (len(got) == len(asked))
        assert grant.retry_in is None or grant.retry_in <= 60
    assert counts.used.get(day_count(REGISTRATION).name, 0) <= cap
    assert others <= usable(cap, codes=False)
    if brand_cap is not None:
        assert counts.used.get(brand_count("BN1").name, 0) <= brand_cap


@pytest.mark.parametrize(("cap", "rest"), [(1, 0), (9, 8), (10, 9), (1000, 900), (None, COUNTED_ONLY)])
def test_a_tenth_is_kept_for_codes(cap: int | None, rest: int) -> None:
    assert usable(cap, codes=False) == rest
    assert usable(cap, codes=True) == (COUNTED_ONLY if cap is None else cap)


def test_a_code_behind_a_used_up_share_still_leaves() -> None:
    counts, text, code = Counts(), uuid4(), uuid4()
    caps = DayCaps(10, None, None, {code})
    asyncio.run(reserve(counts.ask, REGISTRATION, [Wanted(uuid4(), 9)], caps))
    given_slots, grant = asyncio.run(reserve(counts.ask, REGISTRATION, [Wanted(text, 1), Wanted(code, 1)], caps))
    assert [each.id for each, _ in given_slots] == [code]
    assert grant.retry_in == 5.0


def test_a_brand_is_counted_while_nothing_caps_it() -> None:
    names = [(count.name, count.segments) for count in counters(REGISTRATION, DayCaps(brand="BN|1"), codes=False)]
    assert names == [(str(REGISTRATION), COUNTED_ONLY), ("brand:BN%7C1", COUNTED_ONLY)]
