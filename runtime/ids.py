"""Identifiers: distinct types, so that two swapped arguments do not type-check, and UUIDv7 values."""

from dataclasses import dataclass
from typing import NewType
from uuid import UUID

from runtime import clock
from runtime.randomness import random_bits

TenantId = NewType("TenantId", UUID)
OPERATOR = TenantId(UUID(int=0))  # the scope of what belongs to no tenant: answers of the admin API

RANDOM_BITS, VARIANT_BITS = 74, 62
STEP_BITS = 32  # how far the next one of the same millisecond may be, so that it cannot be guessed


@dataclass(slots=True)
class Last:
    """The newest value of this process: milliseconds, then random bits."""

    value: int = 0


LAST = Last()


def uuid7() -> UUID:
    """A time-ordered UUID (RFC 9562, section 5.7): 48 bits of milliseconds, 74 random bits.

    Those of one process sort in the order in which they were made, within a millisecond too (section 6.2, method 2).
    """
    milliseconds = int(clock.now().timestamp() * 1000) & 0xFFFF_FFFF_FFFF
    if milliseconds == LAST.value >> RANDOM_BITS:
        LAST.value += 1 + random_bits(STEP_BITS)
    else:
        LAST.value = milliseconds << RANDOM_BITS | random_bits(RANDOM_BITS - 1)  # half of the range is left for those that follow
    stamp, tail = LAST.value >> VARIANT_BITS, LAST.value & ((1 << VARIANT_BITS) - 1)
    head, version_tail = stamp >> 12, stamp & 0xFFF
    return UUID(int=head << 80 | 0x7 << 76 | version_tail << 64 | 0x2 << 62 | tail)
