"""What a create asks for, and what Twilio refuses of it: a pure reading of the form."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NoReturn
from urllib.parse import parse_qsl, urlsplit

from sandbox import segments
from sandbox.twilio.refusals import Refusal

Form = dict[str, str | list[str]]

_E164 = re.compile(r"\+[1-9]\d{6,14}")
_SERVICE_SID = re.compile(r"MG[0-9a-fA-F]{32}")
_CONTENT_SID = re.compile(r"HX[0-9a-fA-F]{32}")
_LONGEST_BODY, _MOST_MEDIA, _LONGEST_VALIDITY = 1600, 10, 36_000
_SCHEDULE_DAYS = 35

_MAGIC = "+1500555"
_MAGIC_FROM = {
    "+15005550001": (21212, "The From number is invalid"),
    "+15005550007": (21606, "The From number is not a sender of this account"),
    "+15005550008": (21611, "The queue of the From number is full"),
}
_MAGIC_FROM_WORKS = "+15005550006"
_MAGIC_TO = {
    "+15005550001": (21211, "The To number is invalid"),
    "+15005550002": (21612, "The To number cannot be reached from this sender"),
    "+15005550003": (21408, "Sending to the region of the To number is not enabled"),
    "+15005550004": (21610, "The recipient has opted out of this sender"),
    "+15005550009": (21614, "The To number is not a mobile number"),
}


@dataclass(slots=True)
class Draft:
    """A create that Twilio would take, before anything is known of queues."""

    form: Form
    to: str
    sender: str | None
    service: str | None
    body: str
    segments: int
    media: int
    validity: float
    send_at: datetime | None
    callback_url: str | None


def parse(body: bytes) -> Form:
    """The form's fields; a repeated one (MediaUrl) as a list.

    Raises:
        Refusal: 400, not UTF-8.
    """
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, errors="strict")
    except (UnicodeDecodeError, ValueError):
        raise Refusal(400, 20001, "The body is not a form in UTF-8") from None
    form: Form = {}
    for name, value in pairs:
        earlier = form.get(name)
        form[name] = value if earlier is None else [*_values(earlier), value]
    return form


def one(form: Form, name: str) -> str:
    """A field's last value, or the empty text."""
    return _values(form.get(name, ""))[-1]


def read(form: Form, now: datetime, schedule_ahead: float) -> Draft:
    """The draft that the form describes; `schedule_ahead` is how many seconds ahead SendAt must be at least.

    Raises:
        Refusal: 400 with the code that Twilio gives, magic numbers included.
    """
    to, sender, service = one(form, "To"), one(form, "From"), one(form, "MessagingServiceSid")
    if _SERVICE_SID.fullmatch(sender) and not service:  # a Messaging Service may stand in From
        sender, service = "", sender
    _check_recipient(to)
    _check_sender(sender, service)
    body, media = _content(form)
    return Draft(
        form=form,
        to=to,
        sender=sender or None,
        service=service or None,
        body=body,
        segments=segments.count(body),
        media=media,
        validity=_validity(form),
        send_at=_send_at(form, service, now, schedule_ahead),
        callback_url=_callback_url(form),
    )


def _check_recipient(to: str) -> None:
    if not to:
        _refuse(21604, "A 'To' phone number is required.")
    if to in _MAGIC_TO:
        _refuse(*_MAGIC_TO[to])
    if not _E164.fullmatch(to):
        _refuse(21211, f"The 'To' number {to} is not a valid phone number")


def _check_sender(sender: str, service: str) -> None:
    if not sender and not service:
        _refuse(21603, "A 'From' phone number or a MessagingServiceSid is required.")
    if service and not _SERVICE_SID.fullmatch(service):
        _refuse(21701, f"The Messaging Service {service} does not exist")
    if sender in _MAGIC_FROM:
        _refuse(*_MAGIC_FROM[sender])
    if sender.startswith(_MAGIC) and sender != _MAGIC_FROM_WORKS:
        _refuse(21606, f"The From number {sender} is not a sender of this account")


def _content(form: Form) -> tuple[str, int]:
    body, media = one(form, "Body"), len([url for url in _values(form.get("MediaUrl", "")) if url])
    if not body and not media and not _CONTENT_SID.fullmatch(one(form, "ContentSid")):
        _refuse(21602, "Message body is required.")
    if len(body) > _LONGEST_BODY:
        _refuse(21617, f"The message body has more than {_LONGEST_BODY} characters")
    if media > _MOST_MEDIA:
        _refuse(21623, f"A message takes at most {_MOST_MEDIA} media files")
    return (segments.smart_encoded(body) if one(form, "SmartEncoded") == "true" else body), media


def _validity(form: Form) -> float:
    text = one(form, "ValidityPeriod") or str(_LONGEST_VALIDITY)
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= _LONGEST_VALIDITY:
        _refuse(21624, f"The ValidityPeriod {text} is not within 1 and {_LONGEST_VALIDITY} seconds")
    return int(text)


def _send_at(form: Form, service: str, now: datetime, schedule_ahead: float) -> datetime | None:
    text, kind = one(form, "SendAt"), one(form, "ScheduleType")
    if not kind:
        return None  # without ScheduleType, SendAt has no effect
    if kind != "fixed":
        _refuse(35126, "ScheduleType must be 'fixed'")
    if not text:
        _refuse(35111, "SendAt is required with ScheduleType 'fixed'")
    if not service:
        _refuse(35118, "MessagingServiceSid is required to schedule a message")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        _refuse(35114, f"SendAt {text} is not an ISO 8601 timestamp")
    moment = moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    if not timedelta(seconds=schedule_ahead) <= moment - now <= timedelta(days=_SCHEDULE_DAYS):
        _refuse(35114, f"SendAt must be between {schedule_ahead:g} seconds and {_SCHEDULE_DAYS} days in the future")
    return moment


def _callback_url(form: Form) -> str | None:
    url = one(form, "StatusCallback")
    if not url:
        return None
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and parts.hostname is not None and "_" not in parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        _refuse(21609, f"The StatusCallback URL {url} is not a valid URL")
    return url


def _values(value: str | list[str]) -> list[str]:
    return value if isinstance(value, list) else [value]


def _refuse(code: int, message: str) -> NoReturn:
    raise Refusal(400, code, message)
