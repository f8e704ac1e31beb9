"""The control URL: what the stand-in got, which faults are armed, what the accounts are like."""

from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING, Any

from aiohttp import web

from sandbox.control import answer, body_of, count_from, number_from, refusal
from sandbox.twilio import page
from sandbox.twilio.accounts import Account, Declaration
from sandbox.twilio.faults import Fault
from sandbox.twilio.messages import Message

if TYPE_CHECKING:
    from sandbox.twilio.server import TwilioSandbox


def routes(sandbox: "TwilioSandbox") -> list[web.RouteDef]:
    """The page at `/` and everything under `/control`."""
    control = Control(sandbox)
    return [
        web.get("/", control.page),
        web.get("/control/messages", control.messages),
        web.delete("/control/messages", control.forget),
        web.get("/control/attempts", control.attempts),
        web.get("/control/faults", control.faults),
        web.post("/control/faults", control.arm),
        web.delete("/control/faults", control.disarm),
        web.delete("/control/faults/{id}", control.disarm),
        web.get("/control/accounts", control.accounts),
        web.post("/control/accounts", control.declare),
    ]


class Control:
    """The handlers; each answers JSON, and 400 with `{"error"}` to what it does not understand."""

    def __init__(self, sandbox: "TwilioSandbox") -> None:
        self._sandbox = sandbox

    async def page(self, _: web.Request) -> web.Response:
        """The list for people."""
        return web.Response(text=page.html(self._sandbox.box), content_type="text/html", charset="utf-8", headers=page.HEADERS)

    async def messages(self, request: web.Request) -> web.Response:
        """`{"count", "messages"}`, oldest first; `?to=`, `?account=` filter, `?limit=` gives the newest so many."""
        to, account = number_from(request, "to"), request.query.get("account")
        chosen = [message for message in self._sandbox.box if _fits(message, to, account)]
        return answer({"count": len(chosen), "messages": [message.record() for message in _newest(chosen, request)]})

    async def attempts(self, request: web.Request) -> web.Response:
        """`{"count", "attempts"}` of all creates, refused ones too, with the same filters; `status` null: the answer reached nobody."""
        to, account = number_from(request, "to"), request.query.get("account")
        attempts = [one for one in self._sandbox.attempts if to in (None, one["to"]) and account in (None, one["account"])]
        return answer({"count": len(attempts), "attempts": list(_newest(attempts, request))})

    async def forget(self, _: web.Request) -> web.Response:
        """Forgets messages and attempts."""
        self._sandbox.forget()
        return web.Response(status=204)

    async def faults(self, _: web.Request) -> web.Response:
        """`{"faults"}`, each with its id and its hits."""
        return answer({"faults": self._sandbox.faults.listed()})

    async def arm(self, request: web.Request) -> web.Response:
        """Arms one fault: `{"action", "match"?, "times"?, …}`; answers 201 `{"id"}`."""
        fault: Any = await body_of(request, Fault)  # type: ignore[arg-type]  # mypy takes a union for no type
        return answer({"id": self._sandbox.faults.arm(fault)}, 201)

    async def disarm(self, request: web.Request) -> web.Response:
        """Removes one fault, or all."""
        number = request.match_info.get("id")
        if number is not None and not (number.isascii() and number.isdigit() and self._sandbox.faults.disarm(int(number))):
            raise refusal(f"there is no fault {number}")
        if number is None:
            self._sandbox.faults.disarm()
        return web.Response(status=204)

    async def accounts(self, _: web.Request) -> web.Response:
        """`{"accounts"}`, without secrets."""
        return answer({"accounts": [self._described(account) for account in self._sandbox.accounts.by_sid.values()]})

    async def declare(self, request: web.Request) -> web.Response:
        """Creates or changes an account; what the body leaves out stays."""
        account = self._sandbox.accounts.declare(await body_of(request, Declaration))
        self._sandbox.lifecycle.rates_changed(account)
        return answer(self._described(account))

    def _described(self, account: Account) -> dict[str, Any]:
        return {
            "sid": account.sid,
            "signs_callbacks": account.auth_token is not None,
            "api_keys": sorted(account.key_secrets),
            "segments_per_second": account.segments_per_second,
            "sender_rates": account.sender_rates,
            "queue_seconds": account.queue_seconds,
            "concurrency": account.concurrency,
            "in_flight": account.in_flight,
            "sent_after": account.sent_after,
            "delivered_after": account.delivered_after,
            "schedule_ahead": account.schedule_ahead,
            "messaging_services": account.messaging_services,
            "waiting_segments": self._sandbox.lifecycle.waiting(account),
        }


def _fits(message: Message, to: str | None, account: str | None) -> bool:
    return to in (None, message.to) and account in (None, message.account_sid)


def _newest(items: list[Any], request: web.Request) -> Iterable[Any]:
    limit = count_from(request, "limit")
    return items if limit is None else islice(items, max(0, len(items) - limit), None)
