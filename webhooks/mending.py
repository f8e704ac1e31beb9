"""JSON that only less strict readers take, mended: what a JavaScript sender may write without a fault of its own.

A text cut in the middle of an emoji leaves half of a surrogate pair, which JSON.stringify writes as an escape (ECMA-262, "well-formed
JSON.stringify") and RFC 8259 leaves to each reader. Looked for only after reading has failed.
"""

import re

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
MOST_SURROGATES = 10_000  # to look at, so that a body made of nothing else holds nobody up
SURROGATE = re.compile(rb"\\u(?:([dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|[dD][89a-fA-F][0-9a-fA-F]{2})")
LONGEST_RUN = 64  # backslashes before one; with more it stays as it is


def mended(body: bytes) -> bytes | None:
    """The body without a byte order mark and with U+FFFD for each half of a surrogate pair; None: there is neither."""
    better = SURROGATE.sub(whole, body.removeprefix(BYTE_ORDER_MARK), count=MOST_SURROGATES)
    return None if better == body else better


def whole(found: "re.Match[bytes]") -> bytes:
    """A pair stays, and so does what is no escape, since its backslash is one that is escaped itself; a half is replaced."""
    before = found.string[max(0, found.start() - LONGEST_RUN) : found.start()]
    escaped = (len(before) - len(before.rstrip(b"\\"))) % 2 == 1
    return found[0] if found[1] or escaped else b"\\ufffd"
