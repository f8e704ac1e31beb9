"""Counting effects: what stands at Twilio, in the tenant's messages and on its bill, against what was ordered."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.kills.client import Http, Unreachable
from tests.kills.installation import Installation
from tests.kills.tenants import Tenant

OPEN = ("scheduled", "queued", "sending", "unknown", "held")
LEFT = frozenset({"sent", "delivered"})
GRACE_SECONDS = 1.0  # in which a text that leaves twice would show
BILL_SECONDS = 5.0
SHOWN = 8  # faults of one kind that are told in full


@dataclass
class Found:
    """What an audit saw of one tenant; `settled` is how many seconds nothing was open any more after."""

    settled: float
    messages: dict[str, dict[str, Any]] = field(default_factory=dict)  # by recipient
    at_twilio: list[dict[str, Any]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def with_history(self, *words: str) -> int:
        """Messages whose history holds one of these as a status or in a detail."""
        return sum(
            any(word == event["status"] or word in event.get("detail", "") for event in message["history"] for word in words)
            for message in self.messages.values()
        )

    @property
    def most_in_a_second(self) -> int:
        """The most texts that Twilio got from this account in any second."""
        arrivals = sorted(text["arrived_at"] for text in self.at_twilio)
        return max((sum(start <= each < start + 1.0 for each in arrivals) for start in arrivals), default=0)


async def audit(http: Http, house: Installation, tenant: Tenant, ordered: Mapping[str, str], *, tool_calls: int, within: float) -> Found:
    """Wait, at most so many seconds, until nothing of the tenant is open, then count; `ordered` is the text by recipient."""
    found = Found(await settled(http, tenant, within))
    await asyncio.sleep(GRACE_SECONDS)
    attempts = await attempts_of(http, house, tenant)
    found.at_twilio = (await http.right("GET", f"{house.twilio_url}/control/messages?account={tenant.account}"))["messages"]
    rows = [row async for row in http.items(f"{tenant.base_url}/v1/messages", tenant.key)]
    found.messages = {row["to"]: row for row in rows}
    texts = Counter((text["to"], text["body"]) for text in found.at_twilio)
    told = {to: story(found.messages.get(to), attempts.get(to, [])) for to in {*ordered, *(to for to, _ in texts)}}

    found.faults += limited("lost", (f"{told[to]}" for to, body in ordered.items() if not texts[to, body]))
    found.faults += limited("twice", (f"{count} times: {told[to]}" for (to, _), count in texts.items() if count > 1))
    found.faults += limited("never ordered", (f"{body!r}: {told[to]}" for to, body in texts if ordered.get(to) != body))
    found.faults += limited("stuck or failed", (told[row["to"]] for row in rows if row["status"] not in LEFT))
    if len(rows) != len(ordered):
        found.faults.append(f"{tenant.slug} has {len(rows)} messages, {len(ordered)} were ordered")
    sids = {text["sid"]: text["to"] for text in found.at_twilio}
    strangers = (told[row["to"]] for row in rows if row["status"] in LEFT and sids.get(row.get("twilio_sid", "")) != row["to"])
    found.faults += limited("a Sid that is not Twilio's for it", strangers)
    segments = sum(text["segments"] for text in found.at_twilio)
    found.faults += await bill_faults(http, tenant, {"sms_segments_out": segments, "tool_calls": tool_calls})
    return found


async def settled(http: Http, tenant: Tenant, within: float) -> float:
    """Seconds until no message was open, or `within`."""
    began = time.monotonic()
    while time.monotonic() - began < within:
        try:
            lists = [f"{tenant.base_url}/v1/messages?status={status}&limit=1" for status in OPEN]
            if not any([(await http.right("GET", url, key=tenant.key))["items"] for url in lists]):
                break
        except Unreachable:
            pass  # it is being started again
        await asyncio.sleep(0.25)
    return time.monotonic() - began


async def bill_faults(http: Http, tenant: Tenant, expected: Mapping[str, int]) -> list[str]:
    """Where the tenant's usage is not exactly this; it gets a moment to become so."""
    until = time.monotonic() + BILL_SECONDS
    while True:
        items = (await http.right("GET", f"{tenant.base_url}/v1/usage", key=tenant.key))["items"]
        billed = {meter: [item["quantity"] for item in items if item["meter"] == meter] for meter in expected}
        wanted = {meter: [str(quantity)] if quantity else [] for meter, quantity in expected.items()}
        if billed == wanted:
            return []
        if time.monotonic() > until:
            return [f"{tenant.slug} is billed {billed}, it used {wanted}"]
        await asyncio.sleep(0.2)


async def attempts_of(http: Http, house: Installation, tenant: Tenant) -> dict[str, list[dict[str, Any]]]:
    """Every create that Twilio saw of the account, by recipient."""
    by_recipient: dict[str, list[dict[str, Any]]] = {}
    for attempt in (await http.right("GET", f"{house.twilio_url}/control/attempts?account={tenant.account}"))["attempts"]:
        by_recipient.setdefault(attempt["to"], []).append(attempt)
    return by_recipient


def story(message: Mapping[str, Any] | None, attempts: Iterable[Mapping[str, Any]]) -> str:
    """A message's whole life in one line."""
    creates = "; ".join(f"{each['at']:.3f} status {each['status']} sid {each['sid']}" for each in attempts) or "none"
    if message is None:
        return f"no message stands for it; creates at Twilio: {creates}"
    history = " > ".join(f"{event['at'][11:23]} {event['status']} {event.get('detail', '')}".rstrip() for event in message["history"])
    return f"message {message['id']} to {message['to']} is {message['status']}; history: {history}; creates at Twilio: {creates}"


def limited(kind: str, faults: Iterable[str]) -> list[str]:
    """The first few of a kind in full, and how many there are."""
    listed = list(faults)
    more = [f"{kind}: {len(listed)} in all"] if len(listed) > SHOWN else []
    return [f"{kind}: {fault}" for fault in listed[:SHOWN]] + more
