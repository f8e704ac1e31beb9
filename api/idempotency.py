"""The Idempotency-Key header (IETF draft-ietf-httpapi-idempotency-key-header).

It is a structured string: quoted by strict clients, bare from the rest, and both are one key.
"""

import re
import secrets
from typing import Annotated

import msgspec
from litestar.params import HeaderParameter

from runtime.refusals import Invalid
from webhooks import keys

KEY_HEADER = "Idempotency-Key"
KEY_DESCRIPTION = "The same key gets the same answer for at least 72 hours; the effect happens once."
LONGEST = 255
QUOTED = re.compile(r'"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')
BARE = re.compile(r"[\x21\x23-\x7e]+")

IdempotencyKey = Annotated[
    str | None,
    HeaderParameter(name=KEY_HEADER, description=KEY_DESCRIPTION),
]


def parse(header: str) -> str:
    """The key in the header; quoted and bare are the same key.

    Raises:
        Invalid: empty, longer than 255, or not printable ASCII.
    """
    quoted = QUOTED.fullmatch(header.strip())
    value = quoted[1].replace('\\"', '"').replace("\\\\", "\\") if quoted else header.strip()
    if not value or len(value) > LONGEST or not (quoted or BARE.fullmatch(value)):
        raise Invalid(f"The header Idempotency-Key takes 1 to {LONGEST} printable ASCII characters.")
    return value


def request_key(operation: str, header: str | None, body: msgspec.Struct) -> tuple[bytes, bytes]:
    """The key and the fingerprint of a request; without a header every request is its own.

    Raises:
        Invalid: the header is malformed.
    """
    key = secrets.token_hex(16) if header is None else parse(header)
    return keys.api_key(operation, key), keys.digest(keys.canonical(body))
