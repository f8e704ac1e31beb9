"""Creating messages at Twilio and finding them again, for every tenant, over one shared HTTP client.

The create goes through the package's `Client.request_async`, which answers with what Twilio said. `client.messages.create_async`
builds the same request, but turns every refusal into an exception without the headers and a broken body into a JSON error.
"""

from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache

from twilio.base.exceptions import TwilioException
from twilio.base.page import Page
from twilio.rest import Client
from twilio.rest.api.v2010.account.message import MessageInstance

from messaging.outcomes import Outcome, classify, classify_exception, whole_number
from messaging.twilio_http import TWILIO, RequestFailed, TwilioHttp

_PAGE, _LARGEST_PAGE = 100, 1000
_CLOCKS_APART = timedelta(minutes=1)
_MOST_PAGES = 10
_MOST_CLIENTS = 2048  # accounts whose clients are kept


class LookupFailed(Exception):
    """Twilio did not list the messages, or not all of them: nothing may be concluded from what is missing."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What acts for an account: its own token, or one of its API keys (`username` SK…, `password` the key's secret)."""

    account_sid: str
    username: str
    password: str = field(repr=False)

    @classmethod
    def by_token(cls, account_sid: str, auth_token: str) -> "Credentials":
        """The account's own token."""
        return cls(account_sid, account_sid, auth_token)


@dataclass(frozen=True, slots=True)
class FoundMessage:
    """A message as Twilio lists it. `from_` and `segments` are None until a Messaging Service has picked a number."""

    sid: str
    to: str
    body: str
    from_: str | None
    messaging_service_sid: str | None
    status: str
    created_at: datetime
    segments: int | None
    error_code: int | None


@dataclass(frozen=True, slots=True)
class Priced:
    """What Twilio lists of a text that ended. `price` is None until Twilio knows it, and negative where it is charged."""

    price: Decimal | None
    unit: str | None
    segments: int | None


class Twilio:
    """The Messages API; `http` is the process's one TwilioHttp, opened and closed by its owner."""

    def __init__(self, http: TwilioHttp) -> None:
        self._http = http
        self._clients = lru_cache(_MOST_CLIENTS)(self._client)  # to build one reads the environment thrice

    async def create_message(
        self,
        credentials: Credentials,
        to: str,
        body: str,
        *,
        sender: str,
        status_callback: str | None = None,
        validity_period: int | None = None,
    ) -> Outcome:
        """Ask Twilio once to send a text. `sender`: a number, a short code, or a Messaging Service (MG…).

        `validity_period`: seconds (1 to 36,000) that the text may wait at Twilio. Never raises for what Twilio or the network
        does; when this task is cancelled the outcome is unknown.
        """
        form: dict[str, object] = {
            "To": to,
            "MessagingServiceSid" if sender.startswith("MG") else "From": sender,
            "Body": body,
            "StatusCallback": status_callback,
            "ValidityPeriod": None if validity_period is None else str(validity_period),
        }
        uri = f"{TWILIO}/2010-04-01/Accounts/{credentials.account_sid}/Messages.json"
        try:
            answer = await self._clients(credentials).request_async("POST", uri, data=form)
        except RequestFailed as failed:
            return classify_exception(failed.__cause__ or failed, request_written=failed.written)
        return classify(answer.status_code, answer.text.encode(), answer.headers or {})

    async def find_messages(self, credentials: Credentials, to: str, sent_after: datetime) -> list[FoundMessage]:
        """The account's messages to a number that Twilio created at or after an instant (it tells whole seconds).

        Asked for by recipient only: Twilio filters by `DateSent`, which a text still in its queue does not have.

        Raises:
            LookupFailed: nothing was learned.
        """
        earliest = sent_after.astimezone(UTC).replace(microsecond=0)
        try:
            return [message async for message in self._listed(credentials, to, earliest) if message.created_at >= earliest]
        except RequestFailed as failed:
            raise LookupFailed(f"Twilio did not list the messages: {failed}") from failed
        except (TwilioException, LookupError, ValueError, TypeError, AttributeError) as error:
            # Not chained: the answer inside may hold numbers and texts.
            raise LookupFailed(f"Twilio did not list the messages: {type(error).__name__}") from None

    async def find_prices(self, credentials: Credentials, sids: Collection[str], sent_after: datetime) -> dict[str, Priced]:
        """What an account was charged for these texts, the oldest of which was created at `sent_after`; one that is not listed is left out.

        Raises:
            LookupFailed: nothing was learned.
        """
        earliest, found = sent_after.astimezone(UTC) - _CLOCKS_APART, dict[str, Priced]()
        try:
            page: Page | None = await self._client(credentials).messages.page_async(page_size=_LARGEST_PAGE)
            for _ in range(_MOST_PAGES):
                records = list(page or ())
                found |= {record.sid: _priced(record) for record in records if record.sid in sids}
                ends = all(record.date_created is not None and record.date_created < earliest for record in records)
                if page is None or ends or len(found) == len(sids):
                    break
                page = await page.next_page_async()
        except (RequestFailed, TwilioException, LookupError, ValueError, TypeError, AttributeError) as error:
            raise LookupFailed(f"Twilio did not list the messages: {type(error).__name__}") from None
        return found

    async def _listed(self, credentials: Credentials, to: str, earliest: datetime) -> AsyncIterator[FoundMessage]:
        """Page by page, newest first, until a whole page is older than `earliest`."""
        page: Page | None = await self._client(credentials).messages.page_async(to=to, page_size=_PAGE)
        for _ in range(_MOST_PAGES):
            messages = [_found(record) for record in page or ()]
            for message in messages:
                yield message
            if page is None or all(message.created_at < earliest for message in messages):
                return
            page = await page.next_page_async()
        if page is not None:
            raise LookupFailed("Twilio lists more messages to that number than are looked through")

    def _client(self, credentials: Credentials) -> Client:
        """The package's client of one account: it holds its credentials and no state of a request; the connections are shared."""
        return Client(  # type: ignore[no-untyped-call]
            credentials.username, credentials.password, credentials.account_sid, http_client=self._http
        )


def _priced(record: MessageInstance) -> Priced:
    price = None if record.price is None else Decimal(str(record.price))
    if price is not None and not price.is_finite():
        raise ValueError("a price is no number")
    return Priced(price, record.price_unit, whole_number(record.num_segments))


def _found(record: MessageInstance) -> FoundMessage:
    if not record.sid or not record.status or record.date_created is None:
        raise ValueError("a listed message lacks its Sid, status or date")
    return FoundMessage(
        sid=record.sid,
        to=record.to or "",
        body=record.body or "",
        from_=record.from_,
        messaging_service_sid=record.messaging_service_sid,
        status=str(record.status),
        created_at=record.date_created,
        segments=whole_number(record.num_segments) or None,
        error_code=record.error_code,
    )
