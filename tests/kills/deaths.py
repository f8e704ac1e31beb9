"""The rounds in which something dies while texts are accepted and sent: nothing lost, nothing twice, nothing stuck."""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from tests.kills.audit import Found, audit
from tests.kills.burst import Burst, Delivery
from tests.kills.client import Unreachable
from tests.kills.installation import Installation, Part
from tests.kills.rounds import Round, Stage
from tests.kills.tenants import Tenant, delay_answers, drop_callbacks, recipient, sign_up

MANY = 200
FAST, SLOWER = "short_code", "toll_free_high_throughput"
RATES = {FAST: 100, SLOWER: 25}  # segments a second: 200 texts take two seconds, or eight
FAR_TOO_FAST = 1.5  # times the rate: more than a busy machine can bunch together
TWILIO_SECONDS = 0.15  # until a create is answered, as from a data centre; a kill finds a dozen of them open
SETTLED_SECONDS = 150.0
AWAIT_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Death:
    """What dies, and when: as soon as this share is accepted, and so many texts have reached Twilio."""

    strike: Callable[[], Awaitable[float]]  # gives the seconds until it was started again
    accepted: float = 0.0
    at_twilio: int = 0


@dataclass(frozen=True, slots=True)
class Orders:
    """What is ordered of a tenant: the deliveries, and the text by recipient."""

    tenant: Tenant
    deliveries: list[Delivery]
    texts: dict[str, str]
    tool_calls: int


async def api_burst(stage: Stage) -> Round:
    """Two tenants with equal call ids and tool-call ids, 200 deliveries each, the API killed in the middle of the burst."""
    orders = [tool_calls(stage, tenant) for tenant in await tenants(stage, 2)]
    shares = [0.2, 0.45, 0.7][: stage.kills]
    return await play(stage, orders, [Death(killing(stage.house, "api"), accepted=share) for share in shares])


async def worker_sends(stage: Stage) -> Round:
    """200 texts queued by a tenant's own program, the worker killed while they flow."""
    (tenant,) = await tenants(stage, 1, FAST if stage.kills < 3 else SLOWER)  # after two kills there is still a flow for a third
    deaths = [Death(killing(stage.house, "worker"), at_twilio=count) for count in (30, 55, 80)[: stage.kills]]
    return await play(stage, [messages(tenant)], deaths)


async def postgres(stage: Stage) -> Round:
    """PostgreSQL killed while webhooks come in and texts go out."""
    return await play_slowly(stage, FAST, [Death(killing(stage.house, "postgres"), accepted=0.35, at_twilio=20)])


async def valkey(stage: Stage) -> Round:
    """Valkey killed while webhooks come in and texts go out."""
    return await play_slowly(stage, SLOWER, [Death(killing(stage.house, "valkey"), accepted=0.35, at_twilio=20)])


async def everything(stage: Stage) -> Round:
    """Every process killed at once, the supervisor too; started again, it takes over, while the deliveries keep coming."""

    async def all_of_it() -> float:
        await stage.house.kill_everything()
        return await stage.house.start()

    return await play_slowly(stage, SLOWER, [Death(all_of_it, accepted=0.35, at_twilio=20)])


async def play_slowly(stage: Stage, tier: str, deaths: Sequence[Death]) -> Round:
    """One tenant's deliveries over about three seconds, so that what dies is missed on the way in and on the way out."""
    (tenant,) = await tenants(stage, 1, tier)
    return await play(stage, [tool_calls(stage, tenant)], deaths, posters=4, pause=0.02)


async def play(stage: Stage, orders: Sequence[Orders], deaths: Sequence[Death], posters: int = 16, pause: float = 0.0) -> Round:
    """The burst and the deaths side by side, then every delivery once more, then the count."""
    deliveries = [each for group in zip(*(order.deliveries for order in orders), strict=True) for each in group]
    burst = Burst(stage.http, deliveries, posters, pause=pause)
    bursting = asyncio.create_task(burst.run())
    try:
        downs = await die_in_turn(stage, burst, orders, deaths)
        took = await bursting
    finally:
        bursting.cancel()  # lest it posts into the next round when this one breaks off
    await burst.replay()
    began = time.monotonic()
    counts = [count(stage, order, SETTLED_SECONDS) for order in orders]
    found = await asyncio.gather(*counts)
    answers = [each.bodies for each in deliveries]
    result = Round(faults=[*burst.faults, *(fault for each in found for fault in each.faults)])
    if len(downs) < len(deaths):
        result.faults.append(f"only {len(downs)} of {len(deaths)} kills happened: the rest of the flow never came")
    result.faults += [fault for order, each in zip(orders, found, strict=True) for fault in pace_faults(order.tenant, each)]
    result.faults += [f"{each.name}: {text}" for each in deliveries for text in wrong_results(each)]
    result.figures = {
        "kills": len(downs),
        "deliveries": len(deliveries),
        "postings": sum(len(each.answers) + each.lost for each in deliveries) + burst.unavailable,
        "lost_answers": sum(each.lost for each in deliveries),
        "saved_by_replay": sum(each.saved_by_replay for each in deliveries),
        "answers_503": burst.unavailable,
        "ids_with_one_answer": sum(len(bodies) == 1 for bodies in answers),
        "texts_at_twilio": sum(len(each.at_twilio) for each in found),
        "in_doubt": sum(each.with_history("unknown") for each in found),
        "found_by_asking": sum(each.with_history("found by asking Twilio") for each in found),
        "sent_once_more": sum(each.with_history("sent once more") for each in found),
        "most_in_a_second": max(each.most_in_a_second for each in found),
        "burst_s": round(took, 2),
        "longest_restart_s": round(max(downs, default=0.0), 2),
        "settled_s": round(max(each.settled for each in found), 1),
        "counted_s": round(time.monotonic() - began, 1),
    }
    return result


async def die_in_turn(stage: Stage, burst: Burst, orders: Sequence[Orders], deaths: Sequence[Death]) -> list[float]:
    """Each death in its moment, unless that does not come; gives the seconds until each had been started again."""
    downs: list[float] = []
    for death in deaths:
        until = time.monotonic() + AWAIT_SECONDS
        while burst.share < death.accepted or await texts_of(stage, orders) < death.at_twilio:
            if time.monotonic() > until:
                return downs
            await asyncio.sleep(0.005)
        downs.append(await death.strike())
    return downs


def killing(house: Installation, part: Part) -> Callable[[], Awaitable[float]]:
    """A strike at one process."""
    return lambda: house.kill(part)


async def texts_of(stage: Stage, orders: Sequence[Orders]) -> int:
    """How many texts have reached Twilio."""
    urls = [f"{stage.house.twilio_url}/control/messages?account={order.tenant.account}&limit=0" for order in orders]
    return sum([(await stage.http.right("GET", url))["count"] for url in urls])


async def count(stage: Stage, order: Orders, within: float) -> Found:
    """The audit of one tenant; that it cannot be made is a fault, too."""
    try:
        return await audit(stage.http, stage.house, order.tenant, order.texts, tool_calls=order.tool_calls, within=within)
    except Unreachable as error:
        return Found(within, faults=[f"{order.tenant.slug} could not be counted: {error}"])


async def tenants(stage: Stage, number: int, tier: str = FAST) -> list[Tenant]:
    """New tenants with a sender of this tier, whose account answers as slowly as the real one, and in even rounds never calls back."""
    made = [await sign_up(stage.http, stage.house, tier) for _ in range(number)]
    for tenant in made:
        faults = [delay_answers(tenant.account, TWILIO_SECONDS)]
        faults += [drop_callbacks(tenant.account)] if stage.number % 2 == 0 else []
        for fault in faults:
            await stage.http.right("POST", f"{stage.house.twilio_url}/control/faults", fault)
    return made


def pace_faults(tenant: Tenant, found: Found) -> list[str]:
    """A death must not set the pace free. How exact the pace is has tests of its own; here a machine may be busy."""
    rate, most = RATES[tenant.tier], found.most_in_a_second
    return [f"{tenant.slug}: {most} texts in one second, its rate is {rate}"] if most > rate * FAR_TOO_FAST else []


def tool_calls(stage: Stage, tenant: Tenant) -> Orders:
    """200 tool calls in 67 calls, each with no more texts than a call may have. The ids are those of every other tenant of the round."""
    texts = {recipient(number): f"Your table {number} is booked." for number in range(MANY)}
    ids = [str(uuid.uuid5(uuid.NAMESPACE_OID, f"call {number // 3} of round {stage.number}")) for number in range(MANY)]
    made = [tenant.tool_call(ids[number], f"call_{number}", to, text) for number, (to, text) in enumerate(texts.items())]
    return Orders(tenant, made, texts, MANY)


def messages(tenant: Tenant) -> Orders:
    """200 texts to 200 people."""
    texts = {recipient(number): f"Your order {number} is ready." for number in range(MANY)}
    return Orders(tenant, [tenant.message(to, text) for to, text in texts.items()], texts, 0)


def wrong_results(delivery: Delivery) -> list[str]:
    """What is wrong with the answer itself: a tool call's must be one result without an error."""
    if not delivery.answers or "/vapi-webhook/" not in delivery.url:
        return []
    results = delivery.answers[0].json["results"]
    return [] if len(results) == 1 and "result" in results[0] else [f"answered {results}"]
