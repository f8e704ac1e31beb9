"""Any order of reserving and giving back: what was not given back keeps to the rate and is what the day counts."""

import asyncio
import time
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import uuid4

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from messaging.pacer import DayCap, Pacer, Slot
from tests.messaging.conftest import Valkey
from tests.messaging.test_pacer import at, exceeds

Answer = TypeVar("Answer")
RATE = 7777  # a slot each 7.7 ms, and no whole number of microseconds


def test_refunds_in_any_order(valkey: Valkey) -> None:  # noqa: C901  the machine needs the server's address
    class Refunds(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.runner = asyncio.Runner()
            self.pacer = self.run(_open(valkey.url))
            self.tenant = str(uuid4())
            now = datetime.now(UTC)
            self.day = DayCap("brand", 10**6, now.date(), now - timedelta(hours=1), now + timedelta(hours=1))
            self.kept: list[tuple[Slot, int]] = []
            self.given_back: list[Slot] = []

        def run(self, work: Coroutine[Any, Any, Answer]) -> Answer:
            return self.runner.run(work)

        @rule(segments=st.lists(st.integers(1, 5), min_size=1, max_size=6))
        def reserve(self, segments: list[int]) -> None:
            grant = self.run(self.pacer.reserve(self.tenant, "r", RATE, segments, horizon=60, day_caps=[self.day]))
            self.kept += zip(grant.slots, segments, strict=True)

        @precondition(lambda self: self.kept)
        @rule(data=st.data())
        def give_back(self, data: st.DataObject) -> None:
            slot, _ = self.kept.pop(data.draw(st.integers(0, len(self.kept) - 1)))
            assert self.run(self.pacer.refund(self.tenant, "r", slot.reservation))
            self.given_back.append(slot)

        @precondition(lambda self: self.kept)
        @rule()
        def give_back_the_newest(self) -> None:
            slot, _ = self.kept.pop()
            assert self.run(self.pacer.refund(self.tenant, "r", slot.reservation))
            self.given_back.append(slot)

        @precondition(lambda self: self.given_back)
        @rule(data=st.data())
        def give_back_twice(self, data: st.DataObject) -> None:
            assert not self.run(self.pacer.refund(self.tenant, "r", data.draw(st.sampled_from(self.given_back)).reservation))

        @rule(milliseconds=st.integers(1, 30))
        def wait(self, milliseconds: int) -> None:
            time.sleep(milliseconds / 1000)

        @invariant()
        def the_rate_holds(self) -> None:
            assert exceeds([(at(slot), units) for slot, units in self.kept], RATE) <= 0

        @invariant()
        def the_day_counts_what_was_kept(self) -> None:
            reading = self.run(self.pacer.peek(self.tenant, "r", RATE, [self.day]))
            assert reading.days == {"brand": sum(units for _, units in self.kept)}

        def teardown(self) -> None:
            self.run(self.pacer.close())
            self.runner.close()

    run_state_machine_as_test(Refunds, settings=settings(max_examples=40, stateful_step_count=25, deadline=None))


async def _open(url: str) -> Pacer:
    return Pacer.at(url, quarantine=0)
