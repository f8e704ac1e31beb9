import json
from pathlib import Path

import pytest

from sandbox.segments import clusters, count, smart_encoded

FAMILY = "👨‍👩‍👧‍👦"  # 11 units
VECTORS = Path(__file__).parents[1] / "messaging" / "data" / "segments.json"


@pytest.mark.parametrize(
    ("text", "segments"),
    [
        ("", 1),
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("a" * 306, 2),
        ("a" * 307, 3),
        ("€" * 80, 1),
        ("€" * 81, 2),
        ("a" * 152 + "€" + "a" * 151, 2),
        ("a" * 152 + "€" + "a" * 152, 3),  # 306 septets, but the euro does not lie across two parts
        ("я" * 70, 1),
        ("я" * 71, 2),
        ("я" * 134, 2),
        ("я" * 135, 3),
        ("ç" * 71, 2),
        ("`" * 71, 2),
        ("Ç" * 160, 1),
        ("😀" * 35, 1),
        ("😀" * 36, 2),
        ("😀" * 67, 3),  # 134 units, but no surrogate pair is split
        ("я" * 60 + FAMILY + "я" * 56, 2),
        ("я" * 60 + FAMILY + "я" * 57, 3),  # 128 units, but the family stays whole
        ("e" + "\u0301" * 140, 3),  # a cluster that no part can hold
    ],
)
def test_counts(text: str, segments: int) -> None:
    assert count(text) == segments


@pytest.mark.parametrize("cluster", [FAMILY, "🇩🇪", "👍🏽", "1️⃣", "e\u0301", "🏴\U000e0067\U000e0062\U000e0065\U000e007f", "각", "नि", "❤️"])
def test_a_cluster_stays_whole(cluster: str) -> None:
    assert list(clusters(f"a{cluster}b{cluster}{cluster}")) == ["a", cluster, "b", cluster, cluster]


def test_flags_pair_up_and_lines_part() -> None:
    assert list(clusters("🇩🇪🇫🇷🇺")) == ["🇩🇪", "🇫🇷", "🇺"]
    assert list(clusters("\r\n\u0301")) == ["\r", "\n", "\u0301"]


def test_smart_encoding_makes_plain_text() -> None:
    assert smart_encoded("\u201cA\u2019s\u201d\u00a0\u2014 b\u2026") == '"A\'s" - b...'


def test_it_agrees_with_twilios_own_calculator() -> None:
    vectors = json.loads(VECTORS.read_text("utf-8"))["vectors"]
    wrong = [text for text, *_, expected in vectors if count(text) != expected]
    assert len(vectors) > 800
    assert len(wrong) <= 2  # flags of Emoji 11 and later, which the calculator's older Unicode tears
