"""Counting after a storm: what Twilio took, what the tenants' messages say and what they are billed, against what was ordered."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tests.kills.audit import GRACE_SECONDS, LEFT, OPEN, attempts_of, bill_faults, limited, story
from tests.kills.client import Http, Unreachable
from tests.kills.installation import Installation
from tests.storms.flow import Customer, Order
from tests.storms.slots import Slot, excess

LOOK_SECONDS = 0.5
DOOR_SECONDS = 3.0  # a text leaves at most 2 s after its slot (messaging/sending.py, LATEST_SECONDS), and the machine may be busy for one
ROUNDING = 0.001  # of a segment: floats
AGAIN, GIVEN_UP = "sent once more", "given up"
FINISHED = frozenset({*LEFT, "undelivered", "failed", "canceled"})


@dataclass
class Counted:
    """Of one tenant; numbers are of messages, but `segments`, the excesses (segments over what is allowed) and `slots`."""

    statuses: Counter[str] = field(default_factory=Counter)
    texts: int = 0
    segments: int = 0
    creates: int = 0
    in_doubt: int = 0
    resent: int = 0  # after two looks without it: the one repetition that is allowed
    given_up: int = 0
    slots: int = 0
    over_slots: float = 0.0
    over_door: float = 0.0
    faults: list[str] = field(default_factory=list)


async def settled(http: Http, flowing: Sequence[Customer], within: float) -> tuple[float, list[str]]:
    """Seconds until no message of anybody was open, and who had some left after `within`."""
    began, left = time.monotonic(), list(flowing)
    while left and time.monotonic() - began < within:
        try:
            while left and not await has_open(http, left[-1]):
                left.pop()
        except Unreachable:
            pass  # something is being started again
        if left:
            await asyncio.sleep(LOOK_SECONDS)
    return time.monotonic() - began, [each.tenant.slug for each in left]


async def has_open(http: Http, one: Customer) -> bool:
    """Whether any message of the tenant has not come to an end."""
    for status in OPEN:
        url = f"{one.tenant.base_url}/v1/messages?status={status}&limit=1"
        if (await http.right("GET", url, key=one.tenant.key))["items"]:
            return True
    return False


async def count(http: Http, house: Installation, one: Customer, slots: Sequence[Slot], *, all_slots: bool) -> Counted:
    """Count one tenant's effects. `all_slots`: every slot was seen, so that each text must have had one."""
    await asyncio.sleep(GRACE_SECONDS)  # in which a text that leaves twice would show
    attempts = await attempts_of(http, house, one.tenant)
    texts = (await http.right("GET", f"{house.twilio_url}/control/messages?account={one.tenant.account}"))["messages"]
    rows = {row["id"]: row async for row in http.items(f"{one.tenant.base_url}/v1/messages", one.tenant.key)}
    result = Counted(
        statuses=Counter(row["status"] for row in rows.values()),
        texts=len(texts),
        segments=sum(text["segments"] for text in texts),
        creates=sum(map(len, attempts.values())),
        in_doubt=sum(says(row, "unknown") for row in rows.values()),
        slots=len(slots),
        over_slots=excess(slots, one.per_minute),
        over_door=door_excess(texts, one.per_minute),
    )
    result.faults += effects(one, rows, texts, attempts, result)
    result.faults += tier_faults(one, result)
    if all_slots and (granted := sum(slot.segments for slot in slots)) < result.segments:
        result.faults.append(f"{one.tenant.slug}: {result.segments} segments left, slots were granted for {granted}")
    result.faults += await bill_faults(http, one.tenant, {"sms_segments_out": result.segments})
    return result


def effects(
    one: Customer,
    rows: Mapping[str, dict[str, Any]],
    texts: Sequence[dict[str, Any]],
    attempts: Mapping[str, Sequence[dict[str, Any]]],
    result: Counted,
) -> Iterator[str]:
    """Lost, twice, blindly repeated, never ordered; every message once, and with an end that the rules allow."""
    taken: dict[str, list[dict[str, Any]]] = {}
    for text in texts:
        taken.setdefault(message_of(text), []).append(text)
    ordered = {order.message_id or "": order for order in one.orders}
    verdicts = {
        order.to: wrong(order, rows.get(message, {}), taken.get(message, []), attempts.get(order.to, []))
        for message, order in ordered.items()
    }
    by_recipient = {row["to"]: row for row in rows.values()}
    for kind in sorted({verdict for verdict in verdicts.values() if verdict}):
        yield from limited(kind, (story(by_recipient.get(to), attempts.get(to, [])) for to, verdict in verdicts.items() if verdict == kind))
    strange = (text for message, alike in taken.items() for text in alike if not same(text, ordered.get(message)))
    yield from limited("a text that nobody ordered", (f"{text['sid']} {text['form']}" for text in strange))
    yield from limited("a message that nobody ordered", (message for message in rows if message not in ordered))
    result.resent = sum(map(repeated_in_doubt, attempts.values()))
    result.given_up = sum(row["status"] == "failed" and says(row, GIVEN_UP) for row in rows.values())


def wrong(order: Order, row: Mapping[str, Any], taken: Sequence[Mapping[str, Any]], tried: Sequence[Mapping[str, Any]]) -> str | None:
    """What is wrong with one message, in a few words. `row` is empty if there is none; `taken` by Twilio, of all the `tried` creates."""
    if not row:
        return "lost"
    status, doubts, doubts_allowed = row["status"], sum(map(unclear, tried)), 1 if order.message_class == "marketing" else 2
    rules = {
        "twice": len(taken) > 1,
        "not settled": status not in FINISHED,
        "said to be sent, but Twilio has not it under this Sid": status in LEFT
        and [text["sid"] for text in taken] != [row.get("twilio_sid")],
        "said not to be sent, but Twilio took it": status in FINISHED - LEFT and bool(taken),
        "repeated blindly": repeated_in_doubt(tried) and not says(row, AGAIN),
        "repeated too often": doubts > doubts_allowed,
        "failed without need": status == "failed" and not (says(row, GIVEN_UP) and doubts >= doubts_allowed),
        "failed without a reason": status == "failed" and not row.get("error", {}).get("reason"),
        "an end that nothing here leads to": status in {"undelivered", "canceled"},
    }
    return next((words for words, holds in rules.items() if holds), None)


def unclear(attempt: Mapping[str, Any]) -> bool:
    """Whether the caller of this create could not know that it was refused: no whole answer, 5xx, or a 2xx that holds no Sid."""
    status = attempt["status"]
    return status is None or status >= 500 or (status < 300 and attempt["sid"] is None)


def repeated_in_doubt(tried: Sequence[Mapping[str, Any]]) -> bool:
    """Whether another create followed one that may have been accepted."""
    return any(map(unclear, tried[:-1]))


def says(row: Mapping[str, Any], word: str) -> bool:
    """Whether a message's history holds this as a status or in a detail."""
    return any(word == event["status"] or word in event.get("detail", "") for event in row["history"])


def message_of(text: Mapping[str, Any]) -> str:
    """Our id of a text at Twilio: the last part of the address that it calls back."""
    return urlsplit(str(text["form"].get("StatusCallback", ""))).path.rpartition("/")[2]


def same(text: Mapping[str, Any], order: Order | None) -> bool:
    """Whether a text is what was ordered under its id."""
    return order is not None and (text["to"], text["body"], text["segments"]) == (order.to, order.body, order.segments)


def door_excess(texts: Sequence[Mapping[str, Any]], per_minute: int) -> float:
    """As `excess`, of the moments in which Twilio got what it took, after DOOR_SECONDS of the rate were allowed for jitter."""
    arrivals = sorted(Slot(round(text["arrived_at"] * 1_000_000), text["segments"]) for text in texts)
    return max(0.0, excess(arrivals, per_minute) - per_minute / 60 * DOOR_SECONDS)


def tier_faults(one: Customer, result: Counted) -> Iterator[str]:
    """Over the tier, by the pacer's clock or at Twilio's door."""
    who = f"{one.tenant.slug} ({one.tenant.tier}, {one.per_minute} a minute)"
    if result.texts and not result.slots:
        yield f"{who}: texts left, and no slot of theirs was seen"
    if result.over_slots > ROUNDING:
        yield f"over the tier: {who} was granted {result.over_slots:.2f} segments more than its rate and one message"
    if result.over_door > ROUNDING:
        yield f"over the tier: {who} brought {result.over_door:.2f} segments more to Twilio than its rate and {DOOR_SECONDS:g} s of it"
