"""Assistants: `PATCH` is partial at the top level only, and each change is a version."""

from aiohttp import web

from sandbox.clock import iso, now
from sandbox.control import answer
from sandbox.vapi.refusals import Refusal, Resource, object_in, organisation_asking
from sandbox.vapi.resources import Shelf, problems_of


class Assistants:
    """All assistants; each API key sees those of its organisation."""

    def __init__(self) -> None:
        self.shelf = Shelf("assistant")
        self.publishes = True  # else a change is a draft: it shows, and the version stays

    def routes(self) -> list[web.RouteDef]:
        """`/assistant`."""
        return [
            web.get("/assistant", self._list),
            web.post("/assistant", self._create),
            web.get("/assistant/{id}", self._get),
            web.patch("/assistant/{id}", self._change),
        ]

    async def _list(self, request: web.Request) -> web.Response:
        return answer(self.shelf.listed(request))

    async def _create(self, request: web.Request) -> web.Response:
        organisation = organisation_asking(request)
        return answer(self.shelf.add(organisation, {**await _wanted(request), "latestVersion": 1}), 201)

    async def _get(self, request: web.Request) -> web.Response:
        return answer(self.shelf.asked_for(request))

    async def _change(self, request: web.Request) -> web.Response:
        """Each field sent replaces the old one whole."""
        assistant = self.shelf.asked_for(request)
        assistant |= await _wanted(request)
        assistant["updatedAt"] = iso(now())
        assistant["latestVersion"] = assistant.get("latestVersion", 0) + self.publishes
        return answer(assistant)


async def _wanted(request: web.Request) -> Resource:
    """The assistant's fields that a caller may set.

    Raises:
        Refusal: 400, no JSON object, a read-only field or a name over 40 characters.
    """
    wanted = await object_in(request)
    if problems := problems_of(wanted):
        raise Refusal(400, problems)
    return wanted
