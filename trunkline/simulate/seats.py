"""Tenants to play for: made with an assistant and a sender, or found again from an earlier day."""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx

from trunkline.simulate.api import Api, ApiTrouble
from trunkline.simulate.target import NotPlayable, Target

ZONES = ("America/Los_Angeles", "America/New_York", "America/Chicago", "America/Denver", "Europe/Berlin", "Australia/Sydney")
TIER, KEY_NAME, ASSISTANT = "toll_free", "simulate", "Front desk"
AT_ONCE = 4


@dataclass
class Seat:
    """A tenant with what is needed to play and to read back: its own key, its assistant, the webhook secret."""

    tenant_id: str
    slug: str
    api: Api
    key_id: str
    vapi_assistant_id: str
    secret: str = field(repr=False)
    webhook_url: str
    lent_assistant: str | None = None


class Seats:
    """Takes seats and gives them back: keys that were made for the run end with it."""

    def __init__(self, client: httpx.AsyncClient, target: Target) -> None:
        self._client = client
        self._target = target
        self._operator = Api(client, target.admin_key)
        self._taken: list[Seat] = []

    async def take_day(self, count: int, taken: Callable[[str], None]) -> list[Seat]:
        """So many tenants of the simulation's own.

        Raises:
            ApiTrouble: one cannot be had.
        """
        gate = asyncio.Semaphore(AT_ONCE)
        known = await self._tenants()

        async def one(number: int) -> Seat:
            async with gate:
                seat = await self._own(f"simulated-{number + 1:03d}", number, known)
            taken(seat.slug)
            return seat

        return list(await asyncio.gather(*map(one, range(count))))

    async def take(self, slug: str) -> Seat:
        """An existing tenant, with an assistant that is lent to it for the run: its own ones keep their secrets.

        Raises:
            NotPlayable: no such tenant. ApiTrouble: the assistant cannot be made.
        """
        tenant = (await self._tenants()).get(slug)
        if tenant is None:
            raise NotPlayable(f"There is no tenant {slug}.")
        api, key_id = await self._key(tenant["id"])
        made = await api.ask("POST", "/v1/assistants", json={"vapi_assistant_id": str(uuid4()), "name": "Simulated calls"})
        seat = self._seat(tenant, api, key_id, made)
        seat.lent_assistant = made["id"]
        return seat

    async def give_back(self) -> None:
        """End what was made for the run; what cannot be ended now stays."""
        for seat in self._taken:
            try:
                if seat.lent_assistant is not None:
                    await seat.api.ask("DELETE", f"/v1/assistants/{seat.lent_assistant}", (204,))
                await self._operator.ask("DELETE", f"/v1/admin/tenants/{seat.tenant_id}/keys/{seat.key_id}", (204,))
            except ApiTrouble:
                continue

    async def _tenants(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        cursor: str | None = None
        while True:
            page = await self._operator.ask("GET", "/v1/admin/tenants", params={"limit": 200, **({"cursor": cursor} if cursor else {})})
            found |= {tenant["slug"]: tenant for tenant in page["items"]}
            cursor = page["next_cursor"]
            if cursor is None:
                return found

    async def _own(self, slug: str, number: int, known: dict[str, dict[str, Any]]) -> Seat:
        tenant = known.get(slug)
        if tenant is None:
            wanted = {"slug": slug, "name": f"Simulated {number + 1}", "timezone": ZONES[number % len(ZONES)]}
            tenant = await self._operator.ask("POST", "/v1/admin/tenants", json=wanted)
        api, key_id = await self._key(tenant["id"])
        await api.ask("PUT", "/v1/sender", json=sender_of(slug, number))
        there = (await api.ask("GET", "/v1/assistants"))["items"]
        if there:  # of an earlier day: its secret was shown then, and is not known now
            made = await api.ask("POST", f"/v1/assistants/{there[0]['id']}/rotate-secret", json={"grace_seconds": 0})
        else:
            made = await api.ask("POST", "/v1/assistants", json={"vapi_assistant_id": str(uuid4()), "name": ASSISTANT})
        return self._seat(tenant, api, key_id, made)

    async def _key(self, tenant_id: str) -> tuple[Api, str]:
        made = await self._operator.ask("POST", f"/v1/admin/tenants/{tenant_id}/keys", json={"name": KEY_NAME})
        return Api(self._client, made["api_key"]), made["id"]

    def _seat(self, tenant: dict[str, Any], api: Api, key_id: str, assistant: dict[str, Any]) -> Seat:
        slug = tenant["slug"]
        vapi_id, secret = assistant["vapi_assistant_id"], assistant["auth"]["secret"]
        seat = Seat(tenant["id"], slug, api, key_id, vapi_id, secret, self._target.webhook_url(slug))
        self._taken.append(seat)
        return seat


def sender_of(slug: str, number: int) -> dict[str, str]:
    """A sender at the sandbox Twilio, the same every time; the credentials open nothing anywhere else."""
    digest = hashlib.sha256(f"simulated sender of {slug}".encode()).hexdigest()
    return {
        "account_sid": f"AC{digest[:32]}",
        "auth_token": digest[32:],
        "from_number": f"+1833555{100 + number % 100:04d}",
        "tier": TIER,
    }
