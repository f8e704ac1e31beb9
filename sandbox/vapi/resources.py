"""What assistants, phone numbers and calls have in common: an organisation's own, with times, listed the newest first."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

from aiohttp import web

from sandbox.clock import iso, now
from sandbox.vapi.refusals import Refusal, Resource, organisation_asking

LONGEST_NAME = 40
READ_ONLY = frozenset({"id", "orgId", "createdAt", "updatedAt", "isServerUrlSecretSet", "latestVersion"})
_COMPARED = {"Gt": lambda one, other: one > other, "Ge": lambda one, other: one >= other}
_COMPARED |= {"Lt": lambda one, other: one < other, "Le": lambda one, other: one <= other}
_MOST, _USUAL = 1000, 100


class Shelf:
    """The resources of one kind, by organisation ("" is any) and id."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.kept: dict[tuple[str, str], Resource] = {}

    def add(self, organisation: str, fields: Resource) -> Resource:
        """A new one with an id of its own."""
        number, moment = str(uuid.uuid4()), iso(now())
        made: Resource = {"id": number, "orgId": organisation, "createdAt": moment, "updatedAt": moment, **fields}
        self.kept[organisation, number] = made
        return made

    def asked_for(self, request: web.Request) -> Resource:
        """The one that the path names.

        Raises:
            Refusal: 401 without a key; 404, the organisation has no such thing.
        """
        organisation, number = organisation_asking(request), request.match_info["id"]
        found = self.kept.get((organisation, number)) or self.kept.get(("", number))
        if found is None:
            raise Refusal(404, f"There is no {self.kind} {number}.")
        return found

    def listed(self, request: web.Request, *equal: str) -> list[Resource]:
        """Those of the organisation, the newest first: `?limit=`, `?createdAtGt=` … `?updatedAtLe=`, and the fields in `equal`.

        Raises:
            Refusal: 401 without a key; 400, a limit or a time that is none.
        """
        organisation = organisation_asking(request)
        found = [each for (whose, _), each in self.kept.items() if whose in ("", organisation)]
        for name in equal:
            if (wanted := request.query.get(name)) is not None:
                found = [each for each in found if each.get(name) == wanted]
        for field, word, limit in _moments(request):
            found = [each for each in found if field in each and _COMPARED[word](_moment(field, each[field]), limit)]
        return sorted(found, key=lambda each: each.get("createdAt", ""), reverse=True)[: _limit(request)]


def problems_of(wanted: Resource) -> list[str]:
    """What Vapi would not take: read-only fields, a name over 40 characters."""
    problems = [f"property {name} should not exist" for name in sorted(READ_ONLY & wanted.keys())]
    name = wanted.get("name")
    if name is not None and not (isinstance(name, str) and len(name) <= LONGEST_NAME):
        problems.append(f"name must be a string of at most {LONGEST_NAME} characters")
    return problems


def _moments(request: web.Request) -> Iterator[tuple[str, str, datetime]]:
    for field in ("createdAt", "updatedAt"):
        for word in _COMPARED:
            if (text := request.query.get(field + word)) is not None:
                yield field, word, _moment(field + word, text)


def _moment(name: str, text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError as error:
        raise Refusal(400, f"{name} must be an ISO 8601 date") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _limit(request: web.Request) -> int:
    text = request.query.get("limit", str(_USUAL))
    if not (text.isascii() and text.isdigit() and int(text) <= _MOST):
        raise Refusal(400, f"limit must be a number from 0 to {_MOST}")
    return int(text)
