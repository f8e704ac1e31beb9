"""Phone numbers: a body is a union over `provider`, which a `PATCH` has to name again."""

import re
from typing import Any

from aiohttp import web

from sandbox.clock import iso, now
from sandbox.control import answer
from sandbox.vapi.refusals import Refusal, Resource, object_in, organisation_asking
from sandbox.vapi.resources import Shelf, problems_of

# by provider: what a new number cannot do without
_NEEDED: dict[str, tuple[str, ...]] = {
    "vapi": (),
    "twilio": ("number", "twilioAccountSid"),
    "vonage": ("number", "credentialId"),
    "telnyx": ("number", "credentialId"),
    "byo-phone-number": ("credentialId",),
}
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_NOT_AFTERWARDS = ("number", "twilioAccountSid")  # these a number has for good


class PhoneNumbers:
    """All phone numbers; each API key sees those of its organisation."""

    def __init__(self) -> None:
        self.shelf = Shelf("phone number")

    def routes(self) -> list[web.RouteDef]:
        """`/phone-number`."""
        return [
            web.get("/phone-number", self._list),
            web.post("/phone-number", self._create),
            web.get("/phone-number/{id}", self._get),
            web.patch("/phone-number/{id}", self._change),
        ]

    async def _list(self, request: web.Request) -> web.Response:
        return answer(self.shelf.listed(request))

    async def _create(self, request: web.Request) -> web.Response:
        organisation, wanted = organisation_asking(request), await object_in(request)
        problems = [*problems_of(wanted), *_wrong_provider(wanted.get("provider"))]
        if not problems:
            problems += [f"{name} should not be empty" for name in _NEEDED[wanted["provider"]] if not wanted.get(name)]
        problems += _wrong_number(wanted)
        if problems:
            raise Refusal(400, problems)
        given = {"number": f"+1303555{100 + len(self.shelf.kept) % 100:04d}"} if wanted["provider"] == "vapi" else {}
        return answer(self.shelf.add(organisation, {"assistantId": None, "status": "active", **given, **wanted}), 201)

    async def _get(self, request: web.Request) -> web.Response:
        return answer(self.shelf.asked_for(request))

    async def _change(self, request: web.Request) -> web.Response:
        """Each field sent replaces the old one whole; a body without the number's own `provider` is of no known shape."""
        number, wanted = self.shelf.asked_for(request), await object_in(request)
        problems = [*problems_of(wanted), *_wrong_provider(wanted.get("provider"))]
        if not problems and wanted["provider"] != number["provider"]:
            problems.append(f"provider must be {number['provider']}, which this number has")
        problems += [
            f"property {name} should not exist" for name in _NOT_AFTERWARDS if wanted.get(name, number.get(name)) != number.get(name)
        ]
        if problems:
            raise Refusal(400, problems)
        number |= wanted
        number["updatedAt"] = iso(now())
        return answer(number)


def _wrong_provider(provider: Any) -> list[str]:
    known = isinstance(provider, str) and provider in _NEEDED
    return [] if known else [f"provider must be one of the following values: {', '.join(_NEEDED)}"]


def _wrong_number(wanted: Resource) -> list[str]:
    number = wanted.get("number")
    fits = number is None or (isinstance(number, str) and _E164.fullmatch(number))
    return [] if fits else ["number must be in E.164 format"]
