"""Lists: `?limit=&cursor=` in, `{"items": […], "next_cursor": null}` out; the newest first."""

import base64
import binascii
from collections.abc import Sequence
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

import msgspec
from litestar.params import QueryParameter

from runtime.refusals import Invalid

Item = TypeVar("Item")
MOST, USUAL = 200, 50
NOT_OURS = "This is not a cursor of this list."

Limit = Annotated[int, QueryParameter(ge=1, le=MOST, description="How many items at most.")]
Cursor = Annotated[str | None, QueryParameter(description="`next_cursor` of the page before.")]


class Page(msgspec.Struct, Generic[Item]):
    """A page of a list."""

    items: list[Item]
    next_cursor: str | None = None


def position(cursor: str | None) -> str | None:
    """Where the page before ended.

    Raises:
        Invalid: not a cursor of ours.
    """
    if cursor is None:
        return None
    try:
        return base64.urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)).decode()
    except (ValueError, binascii.Error) as error:
        raise Invalid.at("/cursor", NOT_OURS) from error


def id_position(cursor: str | None) -> UUID | None:
    """Where the page before ended, in a list ordered by id.

    Raises:
        Invalid: not a cursor of ours.
    """
    found = position(cursor)
    try:
        return None if found is None else UUID(found)
    except ValueError as error:
        raise Invalid.at("/cursor", NOT_OURS) from error


def page(rows: Sequence[Any], limit: int, key: str = "id") -> tuple[Sequence[Any], str | None]:
    """Split off the row that was asked for beyond the limit; the cursor names the last one shown."""
    if len(rows) <= limit:
        return rows, None
    shown = rows[:limit]
    last = shown[-1][key]
    return shown, base64.urlsafe_b64encode(str(last).encode()).decode().rstrip("=")
