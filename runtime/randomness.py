"""Random bits from the operating system, fetched by the page: a webhook needs several ids, and each fetch is a system call."""

import os
from dataclasses import dataclass

PAGE_BYTES = 4096


@dataclass(slots=True)
class Page:
    """Random bytes that nobody has used yet."""

    left: bytes = b""
    used: int = 0


PAGE = Page()


def random_bits(bits: int) -> int:
    """A number of that many random bits, from the system's generator for cryptographic use (os.urandom)."""
    size = (bits + 7) // 8
    if len(PAGE.left) - PAGE.used < size:
        PAGE.left, PAGE.used = os.urandom(max(PAGE_BYTES, size)), 0
    found = int.from_bytes(PAGE.left[PAGE.used : PAGE.used + size])
    PAGE.used += size
    return found >> (8 * size - bits)


def forget_page() -> None:
    """A forked process must not draw what its parent draws."""
    PAGE.left, PAGE.used = b"", 0


os.register_at_fork(after_in_child=forget_page)
