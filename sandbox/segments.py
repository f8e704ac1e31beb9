"""Counts SMS segments on its own, as a second opinion on the product's counter.

Rules: 3GPP TS 23.038 (alphabet, 160 septets alone, 153 per part; otherwise UTF-16, 70 units alone, 67 per part). A two-septet
character and a grapheme cluster (UAX 29, as far as `unicodedata` can tell) never lie across two parts; CR LF may, as at Twilio.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator

_BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_ESCAPED = "\f^{}\\[~]|€"
_ALL_BASIC = re.compile(f"[{re.escape(_BASIC)}]*")
_ALL_GSM = re.compile(f"[{re.escape(_BASIC + _ESCAPED)}]*")

_GSM_ALONE, _GSM_PART = 160, 153
_UCS2_ALONE, _UCS2_PART = 70, 67

_ZWJ = "\u200d"
_SMART = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u02bc", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb", '"'),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"),
        **dict.fromkeys("\u00a0\u2002\u2003\u2007\u2009\u202f", " "),
        "\u2026": "...",
        "\u200b": "",
    }
)


def count(text: str) -> int:
    """Segments of one text, at least 1 (an MMS without words counts one)."""
    if _ALL_BASIC.fullmatch(text):
        return 1 if len(text) <= _GSM_ALONE else -(-len(text) // _GSM_PART)
    if _ALL_GSM.fullmatch(text):
        return _parts((2 if character in _ESCAPED else 1 for character in text), _GSM_ALONE, _GSM_PART)
    return _parts(_cluster_sizes(text), _UCS2_ALONE, _UCS2_PART)


def smart_encoded(text: str) -> str:
    """What `SmartEncoded=true` makes of a text: typographic quotes, dashes and spaces become their plain forms."""
    return text.translate(_SMART)


def clusters(text: str) -> Iterator[str]:
    """The text's grapheme clusters, in order."""
    start = 0
    for end in range(1, len(text)):
        if not _joined(text, start, end):
            yield text[start:end]
            start = end
    if text:
        yield text[start:]


def _parts(sizes: Iterable[int], alone: int, part: int) -> int:
    whole = list(sizes)
    if sum(whole) <= alone:
        return 1
    parts, used = 1, 0
    for size in whole:
        if used + size > part:
            parts, used = parts + 1, 0
        used += size
    return parts


def _cluster_sizes(text: str) -> Iterator[int]:
    for cluster in clusters(text):
        size = _units(cluster)
        if size <= _UCS2_PART:
            yield size
        else:  # no part can hold it whole: it is cut between characters
            yield from map(_units, cluster)


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _joined(text: str, start: int, at: int) -> bool:
    """Whether `text[at]` belongs to the cluster that began at `start`."""
    before, character = text[at - 1], text[at]
    if unicodedata.category(before) in {"Cc", "Zl", "Zp"}:
        return False
    if _extends(character):
        return True
    if before == _ZWJ:
        return _pictographic(character) and any(map(_pictographic, text[start : at - 1]))
    if _regional(before) and _regional(character):
        return (at - start) % 2 == 1
    return _hangul(before, character)


def _extends(character: str) -> bool:
    point = ord(character)
    return (
        character in {_ZWJ, "\u200c"}
        or unicodedata.category(character) in {"Mn", "Me", "Mc"}
        or 0x1F3FB <= point <= 0x1F3FF  # noqa: PLR2004  the five skin tones
        or 0xE0020 <= point <= 0xE007F  # noqa: PLR2004  tags that spell the flags of regions
    )


def _pictographic(character: str) -> bool:
    return ord(character) >= 0x1F000 or unicodedata.category(character) == "So" or character in "©®‼⁉↔↕↖↗↘↙↩↪〰〽"  # noqa: PLR2004  emoji planes


def _regional(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def _hangul(before: str, character: str) -> bool:
    """Conjoining jamo: leading + leading, vowel or syllable; vowel + vowel or trailing; trailing + trailing."""
    leading, vowel, trailing = ("\u1100", "\u115f"), ("\u1160", "\u11a7"), ("\u11a8", "\u11ff")

    def within(one: str, bounds: tuple[str, str]) -> bool:
        return bounds[0] <= one <= bounds[1]

    syllable = within(before, ("\uac00", "\ud7a3"))
    open_syllable = syllable and (ord(before) - 0xAC00) % 28 == 0
    if within(character, leading) or within(character, ("\uac00", "\ud7a3")):
        return within(before, leading)
    if within(character, vowel):
        return within(before, leading) or within(before, vowel) or open_syllable
    return within(character, trailing) and (within(before, vowel) or within(before, trailing) or syllable)
