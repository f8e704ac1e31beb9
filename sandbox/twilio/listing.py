"""The message list: filters, pages and their addresses."""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from urllib.parse import urlencode

from sandbox.twilio.messages import Message
from sandbox.twilio.refusals import Refusal

_LARGEST_PAGE, _USUAL_PAGE = 1000, 50
_FILTERS = ("To", "From", "DateSent", "DateSent<", "DateSent>")

Test = Callable[[datetime], bool]


def page(messages: Iterable[Message], path: str, query: Mapping[str, str]) -> dict[str, Any]:
    """One page of `messages` (newest first), as Twilio lays it out.

    A message without `date_sent` passes no DateSent filter. A PageToken names the last message of the page before, so that new
    messages do not shift the pages of a reader under way.

    Raises:
        Refusal: 400 for a page or a date that is none.
    """
    size = min(max(_number(query, "PageSize", _USUAL_PAGE), 1), _LARGEST_PAGE)
    number, token = _number(query, "Page", 0), query.get("PageToken")
    fitting = (message for message in messages if _sender_fits(message, query.get("From")))
    tests = _date_tests(query)
    if tests:
        fitting = (message for message in fitting if message.sent and all(test(message.sent.replace(microsecond=0)) for test in tests))
    rest = _after(fitting, token.removeprefix("PA")) if token else islice(fitting, number * size, None)
    shown = list(islice(rest, size + 1))
    more, shown = len(shown) > size, shown[:size]
    kept = {name: query[name] for name in _FILTERS if name in query}

    def address(of_page: int, **extra: str) -> str:
        return f"{path}?{urlencode({**kept, 'PageSize': size, 'Page': of_page, **extra})}"

    return {
        "messages": [message.resource() for message in shown],
        "page": number,
        "page_size": size,
        "start": number * size,
        "end": number * size + max(0, len(shown) - 1),
        "uri": address(number, **({"PageToken": token} if token else {})),
        "first_page_uri": address(0),
        "next_page_uri": address(number + 1, PageToken=f"PA{shown[-1].sid}") if more else None,
        "previous_page_uri": address(number - 1) if number else None,
    }


def _sender_fits(message: Message, sender: str | None) -> bool:
    return not sender or message.sender == sender


def _date_tests(query: Mapping[str, str]) -> list[Test]:
    """DateSent is one day; `DateSent<` and `DateSent>` include their own moment, or their own day when only a day is given."""
    tests: list[Test] = []
    if day := query.get("DateSent"):
        start, end = _span(day)
        tests.append(lambda sent: start <= sent < end)
    if before := query.get("DateSent<"):
        moment, day_end = _span(before)
        limit = day_end if _is_day(before) else moment + timedelta(seconds=1)
        tests.append(lambda sent: sent < limit)
    if after := query.get("DateSent>"):
        least, _ = _span(after)
        tests.append(lambda sent: sent >= least)
    return tests


def _span(text: str) -> tuple[datetime, datetime]:
    """The moment that the text names, and the end of its UTC day."""
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
        midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
        return (midnight if _is_day(text) else moment), midnight + timedelta(days=1)
    except (ValueError, OverflowError):
        raise Refusal(400, 20001, f"The date {text} is not a date in GMT") from None


def _is_day(text: str) -> bool:
    return len(text) == len("2026-11-23")


def _after(messages: Iterable[Message], sid: str) -> Iterable[Message]:
    walk = iter(messages)
    for message in walk:
        if message.sid == sid:
            break
    return walk


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, str(default))
    if not (text.isascii() and text.isdigit()):
        raise Refusal(400, 20001, f"{name} must be a whole number")
    return int(text)
