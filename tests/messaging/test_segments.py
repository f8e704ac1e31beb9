import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.segments import Segments, count

VECTORS = json.loads((Path(__file__).parent / "data" / "segments.json").read_text("utf-8"))["vectors"]
GSM_TEXTS = st.text("abc XYZ09@£é\n{}€", max_size=700)


def test_every_text_counts_as_twilios_calculator_counts_it() -> None:
    wrong = [(text[:40], expected, count(text)) for text, *expected in VECTORS if count(text) != Segments(*expected)]
    assert not wrong
    assert len(VECTORS) > 800


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Segments("GSM-7", 0, 1)),
        ("a" * 160, Segments("GSM-7", 160, 1)),
        ("a" * 161, Segments("GSM-7", 161, 2)),
        ("a" * 306, Segments("GSM-7", 306, 2)),
        ("a" * 307, Segments("GSM-7", 307, 3)),
        ("a" * 152 + "€" + "a" * 152, Segments("GSM-7", 306, 3)),  # the euro would straddle the first part
        ("Ç" * 160, Segments("GSM-7", 160, 1)),
        ("ç" * 70, Segments("UCS-2", 70, 1)),
        ("ç" * 71, Segments("UCS-2", 71, 2)),
        ("`" + "a" * 70, Segments("UCS-2", 71, 2)),
        ("😀" * 35, Segments("UCS-2", 70, 1)),
        ("😀" * 67, Segments("UCS-2", 134, 3)),  # 33 pairs to a part, not 33.5
        ("ç" + "a" * 60 + "👨‍👩‍👧‍👦" + "a" * 62, Segments("UCS-2", 134, 3)),  # a family is not parted
    ],
)
def test_known_boundaries(text: str, expected: Segments) -> None:
    assert count(text) == expected


def test_half_a_surrogate_pair_is_counted_not_refused() -> None:
    assert count("\ud83d") == Segments("UCS-2", 1, 1)


@given(GSM_TEXTS)
def test_one_foreign_character_turns_the_whole_text(text: str) -> None:
    assert count(text).encoding == "GSM-7"
    assert count(text + "ş").encoding == "UCS-2"
    assert count(text + "ş").segments >= count(text).segments


@given(st.text(max_size=400))
def test_no_part_holds_more_than_its_room(text: str) -> None:
    measured = count(text)
    alone, part = (160, 153) if measured.encoding == "GSM-7" else (70, 67)
    if measured.units <= alone:
        assert measured.segments == 1
    else:
        assert measured.segments >= -(-measured.units // part)
