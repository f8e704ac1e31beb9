"""Sandbox Twilio as a web application: the Messages API, the control URL and the page."""

import asyncio
import uuid
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Self

from aiohttp import hdrs, web

from sandbox import serving
from sandbox.clock import monotonic, now
from sandbox.control import answer
from sandbox.twilio import creating, listing
from sandbox.twilio.accounts import Account, Accounts
from sandbox.twilio.callbacks import Callbacks
from sandbox.twilio.control import routes
from sandbox.twilio.creating import Draft
from sandbox.twilio.faults import AcceptThenDelay, AcceptThenReset, AnswerFault, Delay, Faults, NotJson, ResetBefore, Status
from sandbox.twilio.lifecycle import Lifecycle
from sandbox.twilio.messages import FINAL, Box, Message
from sandbox.twilio.refusals import Refusal, not_found

_API = "/2010-04-01/Accounts/{account}"
_ATTEMPTS_KEPT = 100_000
_USUAL_CODES = {401: 20003, 403: 20403, 404: 20404, 429: 20429, 500: 20500, 503: 20503}

Operation = Callable[[web.Request, Account], Awaitable[web.Response]]
Accept = Callable[[], web.Response]


class TwilioSandbox:
    """All state of one stand-in. `url` is set while it runs; everything else is for tests that run it in their own process."""

    def __init__(self) -> None:
        self.url = ""
        self.accounts = Accounts()
        self.box = Box()
        self.faults = Faults()
        self.attempts: deque[dict[str, Any]] = deque(maxlen=_ATTEMPTS_KEPT)
        self.callbacks = Callbacks(self.accounts)
        self.lifecycle = Lifecycle(self.callbacks)

    @classmethod
    @asynccontextmanager
    async def running(cls, port: int = 0) -> AsyncIterator[Self]:
        """Serves a new stand-in in this process until the block ends."""
        sandbox = cls()
        async with serving.running(sandbox.application(), port) as sandbox.url:
            yield sandbox

    def application(self) -> web.Application:
        """The web application; it opens and closes what the stand-in needs."""
        app = web.Application(middlewares=[_as_twilio], client_max_size=1 << 20)
        app.router.add_get(f"{_API}/Messages.json", self._call(self._list))
        app.router.add_post(f"{_API}/Messages.json", self._call(self._create))
        app.router.add_get(f"{_API}/Messages/{{sid}}.json", self._call(self._fetch))
        app.router.add_post(f"{_API}/Messages/{{sid}}.json", self._call(self._update))
        app.router.add_delete(f"{_API}/Messages/{{sid}}.json", self._call(self._delete))
        app.add_routes(routes(self))
        app.cleanup_ctx.append(self._life)
        return app

    def forget(self) -> None:
        """Forgets all messages and attempts, with the queues and callbacks that belong to them; accounts and faults stay."""
        self.box.clear()
        self.attempts.clear()
        self.lifecycle.forget()
        self.callbacks.forget()

    async def _life(self, _: web.Application) -> AsyncIterator[None]:
        self.callbacks.open()
        yield
        self.forget()
        await self.callbacks.close()

    def _call(self, operation: Operation) -> Callable[[web.Request], Awaitable[web.Response]]:
        """An API call: authenticated, counted as in flight, with the headers that Twilio adds."""

        async def handle(request: web.Request) -> web.Response:
            began = monotonic()
            account = self.accounts.authenticated(request.match_info["account"], request.headers.get(hdrs.AUTHORIZATION, ""))
            with account.flight() as in_flight:
                response = await operation(request, account)
            response.headers["Twilio-Concurrent-Requests"] = str(in_flight)
            response.headers["Twilio-Request-Duration"] = f"{monotonic() - began:.3f}"
            return response

        return handle

    # -- create --------------------------------------------------------------------------------------------------------

    async def _create(self, request: web.Request, account: Account) -> web.Response:
        arrived = monotonic()
        form = creating.parse(await request.read())
        to, sender = creating.one(form, "To"), creating.one(form, "From") or creating.one(form, "MessagingServiceSid")
        attempt: dict[str, Any] = {
            "at": arrived,
            "account": account.sid,
            "to": to,
            "from": sender,
            "status": None,
            "code": None,
            "sid": None,
        }
        self.attempts.append(attempt)

        def accept() -> web.Response:
            message = self._accept(account, creating.read(form, now(), account.schedule_ahead), arrived)
            attempt["sid"] = message.sid
            return answer(message.resource(), 201)

        try:
            response = await _with_fault(request, self.faults.answer("create", account.sid, to, sender), accept)
        except Refusal as refusal:
            attempt["status"], attempt["code"] = refusal.status, refusal.code
            raise
        attempt["status"] = None if _hung_up(request) else response.status
        return response

    def _accept(self, account: Account, draft: Draft, arrived: float) -> Message:
        """Takes the message, or refuses it when the queue of a plain sender is full."""
        if draft.sender and not self.lifecycle.has_room(account, draft.sender, draft.segments):
            raise Refusal(400, 21611, f"The queue of {draft.sender} is full")
        message = Message(
            sid=("MM" if draft.media else "SM") + uuid.uuid4().hex,
            account_sid=account.sid,
            to=draft.to,
            sender=None if draft.service else draft.sender,
            service=draft.service,
            body=draft.body,
            segments=draft.segments,
            media=draft.media,
            status="scheduled" if draft.send_at else "accepted" if draft.service else "queued",
            validity=draft.validity,
            send_at=draft.send_at,
            callback_url=draft.callback_url,
            form=draft.form,
            life=self.faults.life(account.sid, draft.to, draft.sender or draft.service),
            arrived_at=arrived,
        )
        self.box.add(message)
        self.lifecycle.begin(account, message)
        return message

    # -- read, change, delete ------------------------------------------------------------------------------------------

    async def _list(self, request: web.Request, account: Account) -> web.Response:
        to = request.query.get("To") or None
        fault = self.faults.answer("list", account.sid, to, request.query.get("From"))
        return await _with_fault(request, fault, lambda: answer(listing.page(self.box.of(account.sid, to), request.path, request.query)))

    async def _fetch(self, request: web.Request, account: Account) -> web.Response:
        message = self._message(request, account)
        fault = self.faults.answer("fetch", account.sid, message.to, message.sender)
        return await _with_fault(request, fault, lambda: answer(message.resource()))

    async def _update(self, request: web.Request, account: Account) -> web.Response:
        message = self._message(request, account)
        form = creating.parse(await request.read())

        def change() -> web.Response:
            if creating.one(form, "Status"):
                self._cancel(message, creating.one(form, "Status"))
            elif form.get("Body") == "":
                _require_final(message)
                message.body, message.updated = "", now()
            else:
                raise Refusal(400, 20001, "Only Status=canceled and an empty Body can be set")
            return answer(message.resource())

        return await _with_fault(request, self.faults.answer("update", account.sid, message.to, message.sender), change)

    async def _delete(self, request: web.Request, account: Account) -> web.Response:
        message = self._message(request, account)

        def delete() -> web.Response:
            _require_final(message)
            self.box.remove(message)
            return web.Response(status=204)

        return await _with_fault(request, self.faults.answer("delete", account.sid, message.to, message.sender), delete)

    def _message(self, request: web.Request, account: Account) -> Message:
        message = self.box.get(account.sid, request.match_info["sid"])
        if message is None:
            raise not_found(request.path)
        return message

    def _cancel(self, message: Message, status: str) -> None:
        if status != "canceled":
            raise Refusal(400, 20001, f"Status can be set to canceled only, not to {status}")
        if message.status != "scheduled":
            raise Refusal(400, 30409, "This message cannot be canceled")
        self.lifecycle.cancel(message)


def _require_final(message: Message) -> None:
    if message.status not in FINAL:
        raise Refusal(409, 20009, f"The message is still {message.status}; wait until its delivery is complete")


async def _with_fault(request: web.Request, fault: AnswerFault | None, act: Accept) -> web.Response:
    """What the call does and answers, bent by the fault if there is one."""
    match fault:
        case Status():
            if fault.accept:
                act()
            raise Refusal(fault.status, fault.code or _USUAL_CODES.get(fault.status, 20001), fault.message, fault.headers)
        case NotJson():
            if fault.accept:
                act()
            return web.Response(status=fault.status, text=fault.text, content_type=fault.content_type)
        case Delay():
            await asyncio.sleep(fault.seconds)
        case AcceptThenDelay():
            response = act()
            await asyncio.sleep(fault.seconds)
            return response
        case AcceptThenReset():
            response = act()
            serving.reset(request)
            return response
        case ResetBefore():
            serving.reset(request)
            return web.Response()
        case None:
            pass
    return act()


def _hung_up(request: web.Request) -> bool:
    """Whether nobody is there any more to read the answer."""
    return request.transport is None or request.transport.is_closing()


@web.middleware
async def _as_twilio(request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
    """Refusals, unknown paths and wrong methods of the API answer in Twilio's form, with a request id."""
    try:
        response = await handler(request)
    except Refusal as refusal:
        response = refusal.response()
    except web.HTTPNotFound:
        if not request.path.startswith("/2010-04-01"):
            raise
        response = not_found(request.path).response()
    except web.HTTPMethodNotAllowed:
        response = Refusal(405, 20004, f"{request.method} is not allowed here").response()
    response.headers["Twilio-Request-Id"] = f"RQ{uuid.uuid4().hex}"
    return response
