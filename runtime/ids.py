"""Identifiers: distinct types, so that two swapped arguments do not type-check, and UUIDv7 values."""

import secrets
from typing import NewType
from uuid import UUID

from runtime import clock

TenantId = NewType("TenantId", UUID)


def uuid7() -> UUID:
    """A time-ordered UUID (RFC 9562, section 5.7): 48 bits of milliseconds, 74 random bits."""
    milliseconds = int(clock.now().timestamp() * 1000)
    value = (milliseconds & 0xFFFF_FFFF_FFFF) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return UUID(int=value)
