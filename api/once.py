"""A mutating call under an Idempotency-Key happens once: the claim, the change and the answer commit in one transaction.

A crash leaves nothing behind, so nothing has to be taken over. A success is kept and repeated byte for byte; every refusal and
fault rolls back whatever was done, holds no key, and runs anew when it is sent again.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from decimal import Decimal

import msgspec
from litestar import Request
from litestar.datastructures import State
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send

from api.callers import CALLER, Caller
from api.held_answers import REPLAYED, HeldAnswer, messages_of, problem_answer
from api.idempotency import KEY_HEADER, parse
from api.problems import REQUEST_ID
from api.wiring import Wiring, wiring_of
from runtime.ids import OPERATOR
from runtime.refusals import Invalid
from webhooks import kept_answers, keys

Incoming = Request[object, object, State]
MUTATING = {"POST", "PUT", "PATCH", "DELETE"}
OPT_KEY = "once"  # a route with opt={"once": False} sees to its keys itself
OPT_ELSEWHERE = "elsewhere"  # of a route that asks somebody else's server for some requests: which, by a function of the request
BODIES = msgspec.json.Decoder(float_hook=Decimal)  # exact: two prices that differ in the last digit are two requests


class Undone(Exception):
    """The call was refused or failed: its transaction ends without a trace."""


class OncePerKey(ASGIMiddleware):
    """Stands before the mutating routes of a router; requests without the header pass."""

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Answer as before, or have the call done and its answer kept.

        Raises:
            Refusal: not admitted, or the key says no. Invalid: the header is malformed.
        """
        if not asks_for_once(scope):
            await next_app(scope, receive, send)
            return
        request: Incoming = Request(scope, receive, send)
        await scope["route_handler"].authorize_connection(connection=request)  # nobody sees an answer before the guard has seen them
        if await sees_to_it_itself(request):
            await next_app(scope, receive, send)
            return
        named = await named_request(request, caller_of(scope))
        wiring, caller, held = wiring_of(request.app.state), caller_of(scope), HeldAnswer()
        if caller is not None and caller.tenant.switch("idempotency", "enforce") != "enforce":
            await next_app(scope, receive, send)  # the operator turned it away: every request is its own
            return
        try:
            replay = await done_once(wiring, named, held, lambda: next_app(scope, receive, held.take))
        except Exception as error:  # noqa: BLE001  not left to the framework, which takes an answer that is held for one that is sent
            messages = messages_of(problem_answer(error, scope["state"].get(REQUEST_ID, "")))
        else:
            messages = messages_of(replay, REPLAYED) if replay else held.messages
        if held.succeeded:  # also where nobody knows whether it stands
            refresh(wiring, caller)
        for message in messages:
            await send(message)


def asks_for_once(scope: Scope) -> bool:
    """Whether a request names a key, for a route that changes something and leaves keys to us."""
    named = any(name.lower() == KEY_HEADER.lower().encode() for name, _ in scope["headers"])
    return named and scope.get("method") in MUTATING and bool(scope["route_handler"].opt.get(OPT_KEY, True))


async def sees_to_it_itself(request: Incoming) -> bool:
    """Whether this very request of a route asks somebody else's server, which no transaction may wait for."""
    wish: Callable[[Incoming], Awaitable[bool]] | None = request.scope["route_handler"].opt.get(OPT_ELSEWHERE)
    return wish is not None and await wish(request)


def caller_of(scope: Scope) -> Caller | None:
    """Whom the guard of the tenant API found; nobody on the admin API."""
    caller: Caller | None = scope["state"].get(CALLER)
    return caller


async def named_request(request: Incoming, caller: Caller | None) -> kept_answers.Request:
    """The request as the store knows it: whose, under which key, and a fingerprint of everything that it asks.

    Raises:
        Invalid: the header is malformed or comes twice.
    """
    found = request.headers.getall(KEY_HEADER)
    if len(found) > 1:
        raise Invalid("Send one Idempotency-Key.")
    key = parse(found[0])
    where = f"{request.method} {request.scope['path'].rstrip('/')}"
    return kept_answers.Request(
        tenant=caller.tenant.id if caller else OPERATOR,
        key=keys.api_key(where, key),
        fingerprint=keys.digest(where, request.scope["query_string"], canonical(await request.body())),
        operation=f"{request.method} {request.scope['path_template']}",
    )


def canonical(body: bytes) -> bytes:
    """A JSON body in its one form: the order of keys does not matter. Anything else stays as it is; the route will refuse it."""
    try:
        return keys.canonical(BODIES.decode(body))
    except (ValueError, RecursionError, ArithmeticError):
        return body


async def done_once(
    wiring: Wiring, named: kept_answers.Request, held: HeldAnswer, work: Callable[[], Awaitable[None]]
) -> kept_answers.Answer | None:
    """The answer kept of an earlier call, or None: then the work was done now, and `held` has what it answered.

    Raises:
        Unprocessable, Conflict: see kept_answers.claim. Whatever the store raises: then nobody knows, and a retry finds out.
    """
    with suppress(Undone):
        async with wiring.database.unit(named.tenant) as connection:
            kept = await kept_answers.claim(connection, wiring.keyring, named)
            if kept is not None:
                return kept
            await work()
            if not held.succeeded:
                raise Undone
            await kept_answers.keep(connection, wiring.keyring, named, held.answer())
    return None


def refresh(wiring: Wiring, caller: Caller | None) -> None:
    """The change stands only now: what this process read or told of it before is told anew."""
    if caller is None:
        wiring.tenants.forget_all()
    else:
        wiring.tenants.forget(caller.tenant.slug)
    wiring.wake.publish()
