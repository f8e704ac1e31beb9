"""The page that lists what the stand-in got; it reloads itself."""

from html import escape
from itertools import islice
from typing import Any

from sandbox.twilio.messages import Box, Message, rfc2822

_SHOWN = 200
_HEAD = (
    "<!doctype html><html lang=en><meta charset=utf-8><meta http-equiv=refresh content=2><title>Sandbox Twilio</title>"
    "<style>body{font:14px system-ui;margin:2rem}table{border-collapse:collapse;width:100%}"
    "td,th{border-bottom:1px solid #ddd;padding:.3rem .6rem;text-align:left;vertical-align:top}"
    "td.body{white-space:pre-wrap;overflow-wrap:anywhere}</style><h1>Sandbox Twilio</h1>"
)
_COLUMNS = ("Created", "Account", "From", "To", "Body", "Segments", "Status", "Error", "Callbacks")

HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'", "Cache-Control": "no-store"}


def html(box: Box) -> str:
    """The newest messages as a table; everything that a client sent is escaped."""
    heads = "".join(f"<th>{name}" for name in _COLUMNS)
    rows = "".join(map(_row, islice(box.newest(), _SHOWN)))
    return f"{_HEAD}<p>{len(box)} messages, the newest {min(len(box), _SHOWN)} shown.<table><tr>{heads}{rows}</table>"


def _row(message: Message) -> str:
    cells: list[Any] = [
        rfc2822(message.created),
        message.account_sid,
        message.sender or message.service or "",
        message.to,
        message.body,
        message.segments,
        message.status,
        message.error_code or "",
        ", ".join(f"{callback['status']} {_outcome(callback['tries'])}" for callback in message.callbacks),
    ]
    return "<tr>" + "".join(f"<td{' class=body' if cell is message.body else ''}>{escape(str(cell))}" for cell in cells)


def _outcome(tries: list[dict[str, Any]]) -> str:
    return " ".join(str(one["http_status"] or ("failed" if one["error"] else "…")) for one in tries) or "not sent"
