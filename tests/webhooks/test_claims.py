"""Which effects may share a round trip: one text under two ids takes two, for the second has to see the first."""

import asyncio
import json
from collections import deque
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from webhooks.claims import LARGEST_BATCH, Claimed, Effect, as_json, next_batch, waves

KEYS = ["0a" * 16, "0b" * 16, "0c" * 16]


def effect(key: str = KEYS[0], business: int | None = None) -> Effect:
    return Effect(
        webhook_id=UUID(int=1), place=0, source="vapi", type="tool-calls", key=key, fingerprint=key, answer="{}", business=business
    )


EFFECTS = st.builds(effect, st.sampled_from(KEYS), st.none() | st.integers(1, 2))


def conflict(effects: list[Effect]) -> bool:
    """Whether one text stands there under two ids."""
    texts = {(each.business, each.key) for each in effects if each.business is not None}
    return len(texts) > len({business for business, _ in texts})


@given(st.lists(EFFECTS, max_size=8))
def test_every_effect_has_its_turn_once_and_no_turn_holds_one_text_twice(effects: list[Effect]) -> None:
    made = waves(effects)
    assert sorted(place for wave in made for place in wave) == list(range(len(effects)))
    assert not any(conflict([effects[place] for place in wave]) for wave in made)
    assert len(made) <= 1 or conflict(effects)


@given(st.lists(EFFECTS, max_size=8))
def test_effects_go_in_the_order_of_their_keys_and_keep_their_places(effects: list[Effect]) -> None:
    """Two batches with the same keys would else wait for each other in a ring: app.accept_v3 inserts in the order it is given."""
    sent = json.loads(as_json(effects))
    assert [each["key"] for each in sent] == sorted(each.key for each in effects)
    assert sorted(each["n"] for each in sent) == list(range(len(effects)))
    assert all(each["key"] == effects[each["n"]].key for each in sent)


def test_usual_deliveries_take_one_turn() -> None:
    assert waves([effect(KEYS[0], 1), effect(KEYS[1], 2), effect(KEYS[2])]) == [[0, 1, 2]]
    assert waves([]) == []
    assert waves([effect(KEYS[0], 1), effect(KEYS[1], 1), effect(KEYS[2], 1)]) == [[0], [1], [2]]


async def future() -> "asyncio.Future[list[Claimed]]":
    return asyncio.get_running_loop().create_future()


async def test_a_batch_takes_twins_and_ends_before_the_same_text_under_another_id() -> None:
    twin, twin_again, other_id, apart = effect(KEYS[0], 1), effect(KEYS[0], 1), effect(KEYS[1], 1), effect(KEYS[2], 2)
    waiting = deque([([each], await future()) for each in (twin, twin_again, other_id, apart)])
    assert [each for effects, _ in next_batch(waiting) for each in effects] == [twin, twin_again]
    assert [each for effects, _ in next_batch(waiting) for each in effects] == [other_id, apart]
    assert not waiting


async def test_a_batch_has_an_end() -> None:
    waiting = deque([([effect()], await future()) for _ in range(LARGEST_BATCH + 1)])
    assert (len(next_batch(waiting)), len(next_batch(waiting))) == (LARGEST_BATCH, 1)
