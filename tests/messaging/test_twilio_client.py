import asyncio
import base64
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from aiohttp import web

from messaging.outcomes import Accepted, Deferred, Refused, Unknown
from messaging.twilio_client import Credentials, LookupFailed, Twilio
from messaging.twilio_http import RequestFailed, TwilioHttp

ACCOUNT = "AC" + "1" * 32
SERVICE = "MG" + "2" * 32
CREDENTIALS = Credentials.by_token(ACCOUNT, "token-one")
NOW = datetime.now(UTC).replace(microsecond=0)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def twilio(handler: Handler, *, total: float = 5.0, connect: float = 3.0, connections: int = 100) -> AsyncIterator[Twilio]:
    """A client whose requests `handler` answers over real HTTP."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        async with TwilioHttp(site.name, total=total, connect=connect, connections=connections) as http:
            yield Twilio(http)
    finally:
        await runner.cleanup()


def message(sid: str, created_at: datetime = NOW, **fields: object) -> dict[str, object]:
    return {
        "sid": sid,
        "to": "+12135550123",
        "from": "+12135550100",
        "body": "hello",
        "status": "queued",
        "num_segments": "1",
        "messaging_service_sid": None,
        "error_code": None,
        "price": None,
        "price_unit": "USD",
        "date_created": format_datetime(created_at, usegmt=True),
        "date_sent": None,
        **fields,
    }


def answers(status: int, body: object, headers: dict[str, str] | None = None) -> Handler:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(status=status, text=body if isinstance(body, str) else json.dumps(body), headers=headers)

    return handler


async def test_a_create_asks_what_twilio_documents() -> None:
    seen: list[tuple[str, str, str, dict[str, str]]] = []

    async def handler(request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        seen.append((request.method, request.path, request.headers["Authorization"], form))
        return web.json_response(message("SM" + "3" * 32), status=201)

    async with twilio(handler) as client:
        callback = "https://hooks.example.com/t/m#rc=5&rp=ct,rt,5xx"
        taken = await client.create_message(
            CREDENTIALS, "+12135550123", "Grüße & 100 %", sender="+12135550100", status_callback=callback, validity_period=600
        )
        key = Credentials(ACCOUNT, "SK" + "4" * 32, "sécret")
        await client.create_message(key, "+12135550123", "hi", sender=SERVICE)
    assert taken == Accepted("SM" + "3" * 32, "queued", 1, None, "USD", None)
    path = f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json"
    token = "Basic " + base64.b64encode(f"{ACCOUNT}:token-one".encode()).decode()
    form = {"To": "+12135550123", "From": "+12135550100", "Body": "Grüße & 100 %", "StatusCallback": callback, "ValidityPeriod": "600"}
    assert seen[0] == ("POST", path, token, form)
    assert seen[1][2] == "Basic " + base64.b64encode(f"SK{'4' * 32}:sécret".encode()).decode()
    assert seen[1][3] == {"To": "+12135550123", "MessagingServiceSid": SERVICE, "Body": "hi"}


@pytest.mark.parametrize(
    ("handler", "kind"),
    [
        (answers(429, {"code": 20429, "message": "Too Many Requests", "status": 429}, {"Retry-After": "3"}), Deferred),
        (answers(400, {"code": 21610, "message": "Attempt to send to unsubscribed recipient", "status": 400}), Refused),
        (answers(500, "<html>oops</html>"), Unknown),
        (answers(201, "<html>welcome</html>"), Unknown),
        (answers(302, "", {"Location": "http://127.0.0.1:9/"}), Unknown),
    ],
)
async def test_every_answer_has_its_outcome(handler: Handler, kind: type) -> None:
    async with twilio(handler) as client:
        outcome = await client.create_message(CREDENTIALS, "+12135550123", "hi", sender="+12135550100")
    assert isinstance(outcome, kind)
    if isinstance(outcome, Deferred):
        assert outcome.retry_after == 3


async def test_a_refused_connection_was_not_sent() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        async with TwilioHttp(address) as http:
            outcome = await Twilio(http).create_message(CREDENTIALS, "+12135550123", "hi", sender="+12135550100")
    assert isinstance(outcome, Deferred)
    assert (outcome.code, outcome.error_class) == (None, "not_sent")


async def test_a_create_that_got_no_connection_in_time_was_not_sent() -> None:
    async def handler(_: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    async with twilio(handler, total=0.4, connect=0.1, connections=1) as client:
        first = asyncio.create_task(client.create_message(CREDENTIALS, "+12135550123", "hi", sender="+12135550100"))
        await asyncio.sleep(0.05)
        second = await client.create_message(CREDENTIALS, "+12135550124", "hi", sender="+12135550100")
        assert isinstance(second, Deferred)
        assert isinstance(await first, Unknown)


async def test_a_silent_answer_is_unknown_and_bounded_in_time() -> None:
    requests = 0

    async def handler(_: web.Request) -> web.Response:
        nonlocal requests
        requests += 1
        await asyncio.sleep(30)
        return web.Response()

    async with twilio(handler, total=0.2) as client:
        began = asyncio.get_running_loop().time()
        outcome = await client.create_message(CREDENTIALS, "+12135550123", "hi", sender="+12135550100")
        assert asyncio.get_running_loop().time() - began < 1
    assert isinstance(outcome, Unknown)
    assert requests == 1


async def test_a_connection_lost_after_writing_is_unknown_and_not_repeated() -> None:
    requests = 0

    async def handler(request: web.Request) -> web.Response:
        nonlocal requests
        requests += 1
        await request.read()
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    async with twilio(handler) as client:
        outcome = await client.create_message(CREDENTIALS, "+12135550123", "hi", sender="+12135550100")
    assert isinstance(outcome, Unknown)
    assert requests == 1


async def test_concurrent_creates_of_many_tenants_get_their_own_answers() -> None:
    async def handler(request: web.Request) -> web.Response:
        to = str((await request.post())["To"])
        await asyncio.sleep(0.01)
        account = base64.b64decode(request.headers["Authorization"].split()[1]).decode().split(":")[0]
        assert account in request.path
        assert "Cookie" not in request.headers
        return web.json_response(message(f"SM-{account}-{to}"), status=201, headers={"Set-Cookie": f"tenant={account}"})

    accounts = [f"AC{number:032x}" for number in range(10)]
    async with twilio(handler) as client:
        asked = [(account, f"+1213555{line:04}") for account in accounts for line in range(100, 130)]
        outcomes = await asyncio.gather(
            *(client.create_message(Credentials.by_token(account, account), to, "hi", sender="+12135550100") for account, to in asked)
        )
    sids = [outcome.sid for outcome in outcomes if isinstance(outcome, Accepted)]
    assert sids == [f"SM-{account}-{to}" for account, to in asked]


async def test_credentials_leave_for_twilio_only_and_are_never_shown() -> None:
    assert "token-one" not in repr(CREDENTIALS)
    async with TwilioHttp("http://127.0.0.1:9") as http:
        for elsewhere in ("https://api.twilio.com.example.org/x", "https://example.org/", "http://api.twilio.com/x"):
            with pytest.raises(ValueError, match=r"api\.twilio\.com"):
                await http.request("GET", elsewhere)
        with pytest.raises(RequestFailed) as failed:
            await http.request("GET", "https://api.twilio.com/x", auth=("user", "secret"))
    assert "secret" not in str(failed.value)


async def test_it_must_be_open() -> None:
    with pytest.raises(RuntimeError, match="not open"):
        await TwilioHttp().request("GET", "https://api.twilio.com/x")


def listing(messages: list[dict[str, object]], *, pages: int = 1) -> Handler:
    """Twilio's list, newest first, in pages of which the next is named by the one before."""

    async def handler(request: web.Request) -> web.Response:
        assert request.query["To"] == "+12135550123"
        assert "DateSent>" not in request.query
        page, size = int(request.query.get("Page", 0)), -(-len(messages) // pages)
        following = f"{request.path}?To=%2B12135550123&Page={page + 1}" if page + 1 < pages else None
        return web.json_response(
            {"messages": messages[page * size : (page + 1) * size], "page": page, "page_size": size, "next_page_uri": following}
        )

    return handler


async def test_what_twilio_lists_is_found_though_it_was_not_sent_yet() -> None:
    listed = [
        message("SM1", error_code=30007, status="undelivered"),
        message("SM2", num_segments="0", messaging_service_sid=SERVICE, status="accepted") | {"from": None},
        message("SM3", NOW - timedelta(hours=2)),
    ]
    async with twilio(listing(listed)) as client:
        found = await client.find_messages(CREDENTIALS, "+12135550123", NOW + timedelta(milliseconds=400))
    assert [each.sid for each in found] == ["SM1", "SM2"]
    assert (found[0].from_, found[0].body, found[0].segments, found[0].error_code, found[0].created_at) == (
        "+12135550100",
        "hello",
        1,
        30007,
        NOW,
    )
    assert (found[1].from_, found[1].messaging_service_sid, found[1].segments, found[1].status) == (None, SERVICE, None, "accepted")


async def test_every_page_is_looked_through_until_one_is_too_old() -> None:
    listed = [message(f"SM{number}", NOW - timedelta(minutes=number)) for number in range(40)]
    async with twilio(listing(listed, pages=8)) as client:
        found = await client.find_messages(CREDENTIALS, "+12135550123", NOW - timedelta(minutes=17))
    assert [each.sid for each in found] == [f"SM{number}" for number in range(18)]


@pytest.mark.parametrize(
    "handler",
    [
        answers(500, {"code": 20500, "message": "no"}),
        answers(401, {"code": 20003, "message": "no"}),
        answers(200, "<html>"),
        answers(200, {"messages": [{"sid": "SM1"}]}),
        answers(200, {"surprise": 1, "messages": []}),
        answers(200, []),
        listing([message(f"SM{number}") for number in range(24)], pages=12),
    ],
)
async def test_what_is_not_listed_whole_proves_nothing(handler: Handler) -> None:
    async with twilio(handler) as client:
        with pytest.raises(LookupFailed):
            await client.find_messages(CREDENTIALS, "+12135550123", NOW - timedelta(hours=1))


async def test_a_list_that_cannot_be_asked_for_proves_nothing() -> None:
    async with TwilioHttp("http://127.0.0.1:9") as http:
        with pytest.raises(LookupFailed):
            await Twilio(http).find_messages(CREDENTIALS, "+12135550123", NOW)
