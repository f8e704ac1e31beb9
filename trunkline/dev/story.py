"""The main job, played once: a tenant's webhook becomes one paced text message, and a line on the bill."""

import asyncio
import json
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import httpx

from trunkline.dev.demo_tenant import Demo

PATIENCE_SECONDS = 10.0
LOOK_EVERY = 0.1
CALLER = "+12135550123"
Found = TypeVar("Found")
TEXT = "Demo Dental: you are booked for Tuesday at 3 PM. Reply STOP to opt out."


async def play(base_url: str, demo: Demo, vapi_url: str | None, twilio_url: str | None, say: Callable[[str], None]) -> bool:
    """Play and tell; waits at most ten seconds at each step, and says what it missed. Answers whether everything was seen."""
    if vapi_url is None:
        say("The story is not played: TRUNKLINE_VAPI_BASE_URL names another Vapi than the sandbox.")
        return False
    async with httpx.AsyncClient(
        base_url=base_url, headers={"Authorization": f"Bearer {demo.api_key}"}, timeout=PATIENCE_SECONDS
    ) as tenant:
        try:
            return await Story(tenant, demo, vapi_url, twilio_url, say).tell()
        except (httpx.HTTPError, KeyError, ValueError) as error:
            say(f"  ! the story broke off: {type(error).__name__} {error}")
            return False


class Story:
    """One telling."""

    def __init__(self, tenant: httpx.AsyncClient, demo: Demo, vapi_url: str, twilio_url: str | None, say: Callable[[str], None]) -> None:
        self.tenant, self.demo, self.vapi_url, self.twilio_url, self.say = tenant, demo, vapi_url, twilio_url, say
        self.call_id = str(uuid.uuid4())

    async def tell(self) -> bool:
        """The scenes in order; the first one that is missed ends it."""
        before = await self.billed()
        self.say(f"A caller ({CALLER}) asks {self.demo.slug}'s assistant for a reminder; the model calls the tool send_sms.")
        first, again = await self.deliver(), await self.deliver()
        self.say(f"  1. Vapi posts {first['bytes'] // 1000} kB to {self.demo.webhook_url}")
        self.say(f"     answered {first['status']} in {first['milliseconds']:.0f} ms: {first['body']}")
        self.say("  2. Vapi posts it again, as it does when an answer is lost")
        self.say(
            f"     answered {again['status']} in {again['milliseconds']:.0f} ms: the same answer, Idempotent-Replayed: {again['replayed']}"
        )
        if first["body"] != again["body"] or again["replayed"] != "true":
            return self.missed("the replay")
        message = await until(lambda: self.message("sent", "delivered"))
        if message is None:
            return self.missed("the text leaving")
        self.say(f"  3. the text leaves: {message['segments']} segment to {message['to']}, Twilio calls it {message['twilio_sid']}")
        message = await until(lambda: self.message("delivered"))
        if message is None:
            return self.missed("its delivery")
        self.say(f"  4. it is delivered at {message['delivered_at']}; texts at Twilio for this call: {await self.texts_at_twilio()}")
        used = await until(lambda: self.billed_beyond(before))
        if used is None:
            return self.missed("the bill line")
        self.say(f"  5. the bill: sms_segments_out {used - before:g} (two deliveries, one text, one segment)")
        return True

    def missed(self, what: str) -> bool:
        """Say what did not happen in time."""
        self.say(f"  ! missed within {PATIENCE_SECONDS:g} s: {what}; serving all the same")
        return False

    async def deliver(self) -> dict[str, Any]:
        """One delivery by the sandbox Vapi of a tool call of real size."""
        order = {
            "url": self.demo.webhook_url,
            "credential": {"mode": "bearer", "secret": self.demo.webhook_secret},
            "fixture": {
                "type": "tool-calls",
                "call_id": self.call_id,
                "assistant_id": self.demo.vapi_assistant_id,
                "tool_call_id": "call_story",
                "tool_name": "send_sms",
                "arguments": {"body": TEXT},
                "customer_number": CALLER,
            },
        }
        async with httpx.AsyncClient(timeout=PATIENCE_SECONDS) as vapi:
            attempt = (await vapi.post(f"{self.vapi_url}/control/deliver", json=order)).json()["attempts"][-1]
        return {
            "status": attempt["status"],
            "milliseconds": attempt["milliseconds"],
            "body": attempt["body"],
            "replayed": (attempt["headers"] or {}).get("idempotent-replayed", "false"),
            "bytes": attempt.get("bytes", 51_000),
        }

    async def message(self, *statuses: str) -> dict[str, Any] | None:
        """The call's text, once it has one of these statuses."""
        items = (await self.tenant.get("/v1/messages", params={"call_id": self.call_id})).json()["items"]
        return next((item for item in items if item["status"] in statuses), None)

    async def texts_at_twilio(self) -> int | str:
        """How many texts of this story Twilio got; effects are counted, not calls."""
        if self.twilio_url is None:
            return "not asked (another Twilio than the sandbox)"
        messages = (await self.tenant.get("/v1/messages", params={"call_id": self.call_id})).json()["items"]
        sids = {message.get("twilio_sid") for message in messages}
        async with httpx.AsyncClient(timeout=PATIENCE_SECONDS) as twilio:
            got = (await twilio.get(f"{self.twilio_url}/control/messages", params={"to": CALLER})).json()["messages"]
        return sum(message["sid"] in sids for message in got)

    async def billed(self) -> float:
        """Segments on the current period's bill."""
        items = (await self.tenant.get("/v1/usage")).json()["items"]
        return sum(float(json.loads(item["quantity"])) for item in items if item["meter"] == "sms_segments_out")

    async def billed_beyond(self, before: float) -> float | None:
        """Segments on the bill, once there are more."""
        now = await self.billed()
        return now if now > before else None


async def until(look: Callable[[], Awaitable[Found | None]]) -> Found | None:
    """What a look finds, as soon as it finds something; None after the patience."""
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        if (found := await look()) is not None:
            return found
        await asyncio.sleep(LOOK_EVERY)
    return None
