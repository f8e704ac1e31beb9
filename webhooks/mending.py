"""JSON that only less strict readers take, mended: what a JavaScript sender may write without a fault of its own.

A text cut in the middle of an emoji leaves half of a surrogate pair, which JSON.stringify writes as an escape (ECMA-262, "well-formed
JSON.stringify") and RFC 8259 leaves to each reader. Looked for only after reading has failed.
"""

import re

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
MOST_HALVES = 10_000  # surrogates to look at, so that a body made of nothing else holds nobody up
# a run of backslashes is entered at its beginning only: an even one escapes itself, and the letters behind it are just letters
SURROGATE = re.compile(
    rb"(?<!\\)(\\++)u(?:([dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|[dD][89a-fA-F][0-9a-fA-F]{2})",
)


def mended(body: bytes) -> bytes | None:
    """The body without a byte order mark and with U+FFFD for each half of a surrogate pair; None: there is neither."""
    better = SURROGATE.sub(whole, body.removeprefix(BYTE_ORDER_MARK), count=MOST_HALVES)
    return None if better == body else better


def whole(found: "re.Match[bytes]") -> bytes:
    """A pair stays, and so does what is no escape; a half is replaced."""
    return found[0] if found[2] or len(found[1]) % 2 == 0 else found[1] + b"ufffd"
