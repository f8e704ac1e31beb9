"""Calls as `GET /call/{id}` tells them: played here, made by `POST /call`, or put here by the control URL."""

import asyncio
from typing import Annotated

import msgspec
from aiohttp import web

from sandbox.clock import iso, now
from sandbox.control import answer, body_of
from sandbox.vapi.refusals import Refusal, Resource, object_in, organisation_asking, organisation_of
from sandbox.vapi.resources import Shelf


class Fault(msgspec.Struct, forbid_unknown_fields=True):
    """How `GET /call/{id}` goes wrong, for one call or (empty `call_id`) for every one: after `seconds`, with this status if any."""

    call_id: str = ""
    status: Annotated[int, msgspec.Meta(ge=200, le=599)] | None = None
    body: str = '{"message": "as told", "statusCode": 0}'
    headers: dict[str, str] = {}
    seconds: Annotated[float, msgspec.Meta(ge=0, le=60)] = 0


class Calls:
    """All calls, who asked about them, and how asking goes wrong."""

    def __init__(self) -> None:
        self.shelf = Shelf("call")
        self.asked: list[str] = []
        self.faults: dict[str, Fault] = {}

    def routes(self) -> list[web.RouteDef]:
        """`/call`, and what the control URL says of calls."""
        return [
            web.get("/call", self._list),
            web.post("/call", self._create),
            web.get("/call/{id}", self._get),
            web.put("/control/calls/{id}", self._put),
            web.get("/control/asked", self._get_asked),
            web.put("/control/faults", self._put_fault),
            web.delete("/control/faults", self._clear_faults),
        ]

    def note(self, key: str | None, call_id: str, fields: Resource) -> Resource:
        """What is known of a played call from now on, to whichever key asks, or to this one only."""
        call = self.shelf.kept.setdefault((organisation_of(key) if key else "", call_id), {"id": call_id, "createdAt": iso(now())})
        call |= {**fields, "updatedAt": iso(now())}
        return call

    async def _list(self, request: web.Request) -> web.Response:
        return answer(self.shelf.listed(request, "id", "assistantId", "phoneNumberId"))

    async def _create(self, request: web.Request) -> web.Response:
        """An outbound call, which stays queued: nobody is called from here.

        Raises:
            Refusal: 400, nobody to call or nobody who calls.
        """
        organisation, wanted = organisation_asking(request), await object_in(request)
        assistants = [wanted.get(name) for name in ("assistantId", "assistant", "squadId", "squad", "workflowId", "workflow")]
        customer = wanted.get("customer")
        if not any(assistants) or not (isinstance(customer, dict) and (customer.get("number") or customer.get("sipUri"))):
            raise Refusal(400, ["a call needs a customer with a number, and an assistant, squad or workflow"])
        if not (wanted.get("phoneNumberId") or wanted.get("phoneNumber")):
            raise Refusal(400, ["phoneNumberId or phoneNumber should not be empty"])
        return answer(self.shelf.add(organisation, {**wanted, "type": "outboundPhoneCall", "status": "queued", "cost": 0}), 201)

    async def _get(self, request: web.Request) -> web.Response:
        organisation_asking(request)
        number = request.match_info["id"]
        self.asked.append(number)
        fault = self.faults.get(number) or self.faults.get("")
        if fault is not None:
            await asyncio.sleep(fault.seconds)
            if fault.status is not None:
                return web.Response(status=fault.status, text=fault.body, headers=fault.headers, content_type="application/json")
        return answer(self.shelf.asked_for(request))

    # -- the control URL -----------------------------------------------------------------------------------------------

    async def _put(self, request: web.Request) -> web.Response:
        """What `GET /call/{id}` shall answer, to whichever key asks; with `?key=` to that one only."""
        number, key = request.match_info["id"], request.query.get("key")
        call = {**await body_of(request, Resource), "id": number}
        self.shelf.kept[organisation_of(key) if key else "", number] = call
        return answer(call)

    async def _get_asked(self, _: web.Request) -> web.Response:
        """`{"asked": […]}`: the calls that somebody with a key asked about, in order."""
        return answer({"asked": self.asked})

    async def _put_fault(self, request: web.Request) -> web.Response:
        """From now on `GET /call/{id}` goes wrong like this."""
        fault = await body_of(request, Fault)
        self.faults[fault.call_id] = fault
        return answer(fault)

    async def _clear_faults(self, _: web.Request) -> web.Response:
        """All goes well again."""
        self.faults.clear()
        return web.Response(status=204)
