"""How many segments a text takes, as Twilio and the carriers count (3GPP TS 23.038 and 23.040).

The answers agree with Twilio's own calculator, the npm package `sms-segments-calculator` 1.3.0 (tests/messaging/data/segments.json).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import regex

Encoding = Literal["GSM-7", "UCS-2"]

_GSM_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM_EXTENDED = frozenset("\f^{}\\[~]|€")  # an escape septet and one more
_GSM = _GSM_BASIC | _GSM_EXTENDED
_ROOM: dict[Encoding, tuple[int, int]] = {"GSM-7": (160, 153), "UCS-2": (70, 67)}  # units in a text alone, in a part of several

# What the calculator keeps whole: the extended grapheme clusters of Unicode 10 (UAX 29). Two rules of \X came later and would
# disagree with it: Indic conjuncts (GB9c), and pictures joined to anything but the glyphs below (GB11).
_GLUED = "\u2640\u2642\u2695\u2696\u2708\u2764\U0001f308\U0001f33e\U0001f373\U0001f393\U0001f3a4\U0001f3a8\U0001f3eb\U0001f3ed"
_GLUED += "\U0001f466-\U0001f469\U0001f48b\U0001f4bb\U0001f4bc\U0001f527\U0001f52c\U0001f5e8\U0001f680\U0001f692"
_GRAPHEMES = regex.compile(
    rf"""
    \p{{GCB=Prepend}}*
    (?: \p{{GCB=RI}}{{2}}                                                                    # a flag
      | \p{{GCB=L}}*(?:\p{{GCB=V}}+|\p{{GCB=LV}}\p{{GCB=V}}*|\p{{GCB=LVT}})\p{{GCB=T}}* | \p{{GCB=L}}+  # a Hangul syllable
      | \u200d[{_GLUED}]?
      | [^\p{{GCB=Control}}\r\n] )
    (?: \p{{GCB=Extend}} | \p{{GCB=SpacingMark}} | \u200d[{_GLUED}]? )*                      # accents, skin tones, joiners
    | .                                                                                  # controls; CRLF is two characters
    """,
    regex.VERBOSE | regex.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Segments:
    """A text measured: its encoding, its size in septets (GSM-7) or UTF-16 units (UCS-2), the segments it is charged as."""

    encoding: Encoding
    units: int
    segments: int


def count(text: str) -> Segments:
    """Measure a text; an empty one is one segment, as Twilio says.

    One character outside GSM-7 turns the whole text into UCS-2. Characters of several units (extended GSM-7, surrogate
    pairs, emoji joined to one picture) are never split between parts, so a part may stay short of full.
    """
    encoding: Encoding = "GSM-7" if _GSM.issuperset(text) else "UCS-2"
    alone, part = _ROOM[encoding]
    units = len(text) + sum(map(text.count, _GSM_EXTENDED)) if encoding == "GSM-7" else len(text.encode("utf-16-le", "surrogatepass")) // 2
    if units <= alone:
        return Segments(encoding, units, 1)
    return Segments(encoding, units, _parts(_sizes(text, encoding), part))


def _sizes(text: str, encoding: Encoding) -> Iterator[int]:
    """The units of each character that must stay whole."""
    if encoding == "GSM-7":
        return (2 if character in _GSM_EXTENDED else 1 for character in text)
    return (len(cluster.encode("utf-16-le", "surrogatepass")) // 2 for cluster in _GRAPHEMES.findall(text))


def _parts(sizes: Iterator[int], room: int) -> int:
    """Fill parts in order; a character larger than a part takes one for itself."""
    parts, used = 1, 0
    for size in sizes:
        if used + size > room:
            parts, used = parts + 1, 0
        used += size
    return parts
