"""Random bits by the page: as many as are wanted, never the same twice, and a forked process has its own."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.randomness import PAGE, PAGE_BYTES, random_bits


@given(st.integers(1, 200))
def test_a_number_has_at_most_the_bits_that_were_asked_for(bits: int) -> None:
    assert all(0 <= random_bits(bits) < 1 << bits for _ in range(20))


def test_every_bit_is_used() -> None:
    seen = 0
    for _ in range(200):
        seen |= random_bits(74)
    assert seen == (1 << 74) - 1


def test_nothing_is_drawn_twice_over_many_pages() -> None:
    drawn = [random_bits(128) for _ in range(4 * PAGE_BYTES // 16)]
    assert len(set(drawn)) == len(drawn)


def test_more_than_a_page_at_once() -> None:
    assert random_bits(9 * PAGE_BYTES).bit_length() > 8 * PAGE_BYTES


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_does_not_draw_what_its_parent_draws() -> None:
    random_bits(8)
    assert PAGE.left[PAGE.used :]
    ends = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(ends[1], random_bits(128).to_bytes(16))
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(ends[0], 16)
    for end in ends:
        os.close(end)
    assert theirs != random_bits(128).to_bytes(16)
