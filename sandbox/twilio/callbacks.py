"""Status callbacks: signed form posts to StatusCallback, retried as its fragment asks, bent by life faults."""

import asyncio
import base64
import hashlib
import hmac
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urldefrag, urlencode

import aiohttp
from yarl import URL

from sandbox.clock import monotonic, now
from sandbox.twilio.accounts import Accounts
from sandbox.twilio.faults import DelayCallback, DropCallback, ReorderCallbacks, RepeatCallback
from sandbox.twilio.messages import FINAL, Message

_PAUSE = 0.1  # seconds before the first retry; doubled for each further one


def signature(auth_token: str, url: str, parameters: dict[str, str]) -> str:
    """`X-Twilio-Signature`: base64(HMAC-SHA1(auth token, URL and every name and value in the order of the names))."""
    signed = url + "".join(name + parameters[name] for name in sorted(parameters))
    return base64.b64encode(hmac.new(auth_token.encode(), signed.encode(), hashlib.sha1).digest()).decode()


@dataclass(frozen=True, slots=True)
class Policy:
    """How a callback is tried: seconds to connect, to read and in all; retries after which kinds of failure."""

    connect: float = 5.0
    read: float = 15.0
    total: float = 15.0
    retries: int = 1
    on: frozenset[str] = frozenset({"ct"})

    @classmethod
    def of(cls, fragment: str) -> "Policy":
        """From the URL's fragment (`rc=5&rp=ct,rt,5xx`, times in milliseconds); what is missing or out of range keeps its default."""
        given = {name: values[-1] for name, values in parse_qs(fragment).items()}

        def number(name: str, least: int, most: int, default: int) -> int:
            text = given.get(name, "")
            return int(text) if text.isascii() and text.isdigit() and least <= int(text) <= most else default

        return cls(
            connect=number("ct", 100, 10_000, 5_000) / 1000,
            read=number("rt", 100, 15_000, 15_000) / 1000,
            total=number("tt", 100, 15_000, 15_000) / 1000,
            retries=number("rc", 0, 5, 1),
            on=frozenset(given.get("rp", "ct").split(",")),
        )

    def retries_after(self, failure: str) -> bool:
        """Whether this kind of failure (`ct`, `rt`, `4xx`, `5xx`) is worth another try."""
        return "all" in self.on or failure in self.on


@dataclass(slots=True)
class Notice:
    """One status of one message, as it was when it came about; kept in the message's `callbacks` with every try."""

    status: str
    parameters: dict[str, str]
    token: str = field(default_factory=lambda: str(uuid.uuid4()))
    tries: list[dict[str, Any]] = field(default_factory=list)


class Callbacks:
    """Sends the callbacks of all messages. Must be opened inside a running loop, and closed."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._session: aiohttp.ClientSession | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._held: dict[str, list[Notice]] = {}

    def open(self) -> None:
        """Opens the pool of connections."""
        # Idle connections go before a server's usual 5 s, so that none breaks under a callback.
        connector = aiohttp.TCPConnector(limit=256, keepalive_timeout=2)
        self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())

    async def close(self) -> None:
        """Drops what is under way."""
        self.forget()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session:
            await self._session.close()

    def forget(self) -> None:
        """Cancels every callback that is under way or held back."""
        self._held.clear()
        for task in self._tasks:
            task.cancel()

    def notify(self, message: Message) -> None:
        """Tells the message's present status to its StatusCallback, if it has one."""
        if not message.callback_url:
            return
        notice = Notice(message.status, _parameters(message))
        if not any(isinstance(fault, ReorderCallbacks) for fault in message.life):
            self._start(message, [notice])
            return
        held = self._held.setdefault(message.sid, [])
        held.append(notice)
        if message.status in FINAL:
            self._start(message, self._held.pop(message.sid)[::-1])

    def _start(self, message: Message, notices: list[Notice]) -> None:
        task = asyncio.get_running_loop().create_task(self._tell(message, notices))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tell(self, message: Message, notices: list[Notice]) -> None:
        for notice in notices:
            message.callbacks.append({"status": notice.status, "tries": notice.tries})
            for pause in _departures(message, notice.status):
                await asyncio.sleep(pause)
                await self._deliver(message, notice)

    async def _deliver(self, message: Message, notice: Notice) -> None:
        """One delivery with its retries, all within the policy's total time."""
        url, fragment = urldefrag(message.callback_url or "")
        policy = Policy.of(fragment)
        headers = {"User-Agent": "TwilioProxy/1.1", "Accept": "*/*", "I-Twilio-Idempotency-Token": notice.token}
        account = self._accounts.by_sid.get(message.account_sid)
        if account and account.auth_token:
            headers["X-Twilio-Signature"] = signature(account.auth_token, url, notice.parameters)
        ends, pause = monotonic() + policy.total, _PAUSE
        for attempt in range(1 + policy.retries):
            if attempt:
                await asyncio.sleep(pause)
                pause *= 2
            left = ends - monotonic()
            if left <= 0:
                return
            failure = await self._post(url, headers, notice, policy, left)
            if failure is None or not policy.retries_after(failure):
                return

    async def _post(self, url: str, headers: dict[str, str], notice: Notice, policy: Policy, left: float) -> str | None:
        """One try; gives the kind of its failure, or None."""
        if self._session is None:
            raise RuntimeError("Callbacks.open() comes first")
        done: dict[str, Any] = {"at": monotonic(), "url": url, "http_status": None, "error": None}
        notice.tries.append(done)
        timeout = aiohttp.ClientTimeout(total=left, sock_connect=policy.connect, sock_read=policy.read)
        form = {"Content-Type": "application/x-www-form-urlencoded; charset=UTF-8"}
        try:
            async with self._session.post(
                URL(url, encoded=True), data=urlencode(notice.parameters).encode(), headers=headers | form, timeout=timeout
            ) as response:
                await response.read()
                done["http_status"] = response.status
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            done["error"] = repr(error)
            return "ct"
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            done["error"] = repr(error)
            return "rt"
        return f"{response.status // 100}xx" if response.status >= 400 else None  # noqa: PLR2004  the error classes


def _departures(message: Message, status: str) -> Iterator[float]:
    """The pauses before each sending of this status: none when it is dropped, several when it is repeated."""
    faults = [
        fault for fault in message.life if isinstance(fault, DropCallback | DelayCallback | RepeatCallback) and fault.concerns(status)
    ]
    if any(isinstance(fault, DropCallback) for fault in faults):
        return
    yield sum(fault.seconds for fault in faults if isinstance(fault, DelayCallback))
    for fault in faults:
        if isinstance(fault, RepeatCallback):
            yield from [fault.seconds] * (fault.copies - 1)


def _parameters(message: Message) -> dict[str, str]:
    parameters = {
        "AccountSid": message.account_sid,
        "ApiVersion": "2010-04-01",
        "MessageSid": message.sid,
        "MessageStatus": message.status,
        "SmsSid": message.sid,
        "SmsStatus": message.status,
        "To": message.to,
    }
    if message.sender:
        parameters["From"] = message.sender
    if message.service:
        parameters["MessagingServiceSid"] = message.service
    if message.error_code is not None:
        parameters |= {"ErrorCode": str(message.error_code), "ErrorMessage": message.error_message or ""}
    if message.status in {"delivered", "undelivered"}:
        parameters["RawDlrDoneDate"] = f"{now():%y%m%d%H%M}"
    return parameters
