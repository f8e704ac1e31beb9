"""Tools: function tools of an organisation, which its assistants join by id."""

from aiohttp import web

from sandbox.clock import iso, now
from sandbox.control import answer
from sandbox.vapi.refusals import Refusal, Resource, object_in, organisation_asking
from sandbox.vapi.resources import READ_ONLY, Shelf

LONGEST_FUNCTION = 64


class Tools:
    """All tools; each API key sees those of its organisation."""

    def __init__(self) -> None:
        self.shelf = Shelf("tool")

    def routes(self) -> list[web.RouteDef]:
        """`/tool`."""
        return [
            web.get("/tool", self._list),
            web.post("/tool", self._create),
            web.get("/tool/{id}", self._get),
            web.patch("/tool/{id}", self._change),
            web.delete("/tool/{id}", self._delete),
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
        tool = self.shelf.asked_for(request)
        tool |= await _wanted(request)
        tool["updatedAt"] = iso(now())
        tool["latestVersion"] = tool.get("latestVersion", 0) + 1
        return answer(tool)

    async def _delete(self, request: web.Request) -> web.Response:
        tool = self.shelf.asked_for(request)
        del self.shelf.kept[organisation_asking(request), tool["id"]]
        return answer(tool)


async def _wanted(request: web.Request) -> Resource:
    """The tool's fields that a caller may set.

    Raises:
        Refusal: 400, no JSON object, a read-only field, or no name of 1 to 64 characters.
    """
    wanted = await object_in(request)
    problems = [f"property {name} should not exist" for name in sorted(READ_ONLY & wanted.keys())]
    function = wanted.get("function", {"name": "kept"} if request.method == "PATCH" else None)
    name = function.get("name") if isinstance(function, dict) else None
    if not (isinstance(name, str) and 0 < len(name) <= LONGEST_FUNCTION):
        problems.append(f"function.name must be a string of 1 to {LONGEST_FUNCTION} characters")
    if problems:
        raise Refusal(400, problems)
    return wanted
