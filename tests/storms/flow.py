"""What flows through a storm: texts of every class, short and long, of tenants with different tiers."""

import asyncio
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.kills.burst import Delivery
from tests.kills.client import Http
from tests.kills.installation import Installation
from tests.kills.tenants import Tenant, recipient, sign_up

TIERS = {
    "toll_free_high_throughput": 1500,
    "standard_25_49": 720,
    "low_volume_mixed": 225,
    "toll_free": 180,
    "sole_proprietor": 60,
}  # a minute
CLASSES = ("transactional", "otp", "transactional", "marketing", "transactional", "marketing", "otp")
EVERY_LONG, LONG_SEGMENTS = 10, 3  # each tenth text has so many segments
LONG = " Please bring your card, come ten minutes early, and tell us if anything changes before then." * 4
LOAD = 1.4  # the texts need so many times the storm's length to leave
SIGNED_UP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Order:
    """One text as it was ordered."""

    to: str
    body: str
    message_class: str
    segments: int
    delivery: Delivery

    @property
    def message_id(self) -> str | None:
        """The id it was accepted under, if it was."""
        return str(self.delivery.answers[0].json["id"]) if self.delivery.answers else None


@dataclass(slots=True)
class Customer:
    """A tenant, the registration of its sender with its rate in segments a minute, and what it orders."""

    tenant: Tenant
    registration_id: str
    per_minute: int
    orders: list[Order] = field(default_factory=list)


async def customers(http: Http, house: Installation, messages: int, seconds: float) -> list[Customer]:
    """New tenants that order so many texts, each in proportion to its rate, so that they need LOAD times `seconds` to leave."""
    segments = messages * (1 + (LONG_SEGMENTS - 1) / EVERY_LONG)
    households = max(1, round(segments / (LOAD * seconds) * 60 / sum(TIERS.values())))
    made = [await customer(http, house, tier) for _ in range(households) for tier in TIERS]
    total, given = sum(each.per_minute for each in made), 0
    for place, each in enumerate(made, 1):
        upto = round(messages * sum(one.per_minute for one in made[:place]) / total)
        each.orders = [order(each.tenant, number) for number in range(upto - given)]
        given = upto
    return made


async def customer(http: Http, house: Installation, tier: str) -> Customer:
    """A tenant from nothing, and the registration that its sender created."""
    tenant = await sign_up(http, house, tier)
    async with asyncio.timeout(SIGNED_UP_SECONDS):
        while not (senders := (await http.right("GET", f"{tenant.base_url}/v1/limits", key=tenant.key))["senders"]):  # noqa: ASYNC110  over HTTP
            await asyncio.sleep(0.1)
    per_minute = round(float(senders[0]["segments_per_second"]) * 60)
    if per_minute != TIERS[tier]:
        raise ValueError(f"the tier {tier} grants {per_minute} segments a minute, not {TIERS[tier]}")
    return Customer(tenant, senders[0]["registration_id"], per_minute)


def order(tenant: Tenant, number: int) -> Order:
    """The n-th text of a tenant, to a person of its own."""
    long = number % EVERY_LONG == EVERY_LONG - 1
    to, body, kind = recipient(number), f"Your order {number} is ready.{LONG if long else ''}", CLASSES[number % len(CLASSES)]
    document = json.dumps({"to": to, "body": body, "class": kind}).encode()
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    delivery = Delivery(f"{tenant.slug}: {kind} to {to}", f"{tenant.base_url}/v1/messages", tenant.key, document, headers)
    return Order(to, body, kind, LONG_SEGMENTS if long else 1, delivery)


def interleaved(flowing: list[Customer]) -> Iterator[Order]:
    """All texts in the order in which they are posted: every tenant's evenly spread over the whole time."""
    placed = [(place / len(each.orders), number, order) for number, each in enumerate(flowing) for place, order in enumerate(each.orders)]
    return (order for _, _, order in sorted(placed, key=lambda one: one[:2]))
