"""What a slug looks like: the tenant's name in its webhook URL, for ever."""

import re

SLUG = re.compile(r"[a-z0-9](-?[a-z0-9])*")
LENGTHS = range(2, 64)


def is_slug(text: str) -> bool:
    """Whether a text can be a slug at all: 2 to 63 lower-case letters, digits and single hyphens."""
    return len(text) in LENGTHS and SLUG.fullmatch(text) is not None
