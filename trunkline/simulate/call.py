"""`trunkline simulate call`: one call, each message with its answer as it happens, and what Trunkline made of it."""

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

from trunkline.simulate import player
from trunkline.simulate.agreement import Span, reported, sent_by
from trunkline.simulate.api import client_of
from trunkline.simulate.seats import Seats
from trunkline.simulate.target import NotPlayable, Target, look

CALLER = "+12135550123"
SHOWN_ANSWER = 600  # characters: both results of a delivery with two calls
ACCEPTED = range(200, 300)


async def play_call(
    target: Target, slug: str, script: str, seed: str, speed: float, seen: Callable[[player.Delivery], None]
) -> dict[str, Any]:
    """Play one call for a tenant; the result as programs get it.

    Raises:
        NotPlayable: no such tenant or script, or nothing to play against. ApiTrouble: the API fails. BrokeOff: the sandbox does.
    """
    wanted = script_of(script)
    await look(target)
    deliveries: list[player.Delivery] = []

    def keep(delivery: player.Delivery) -> None:
        deliveries.append(delivery)
        seen(delivery)

    async with client_of(target) as client, player.client_of(target.vapi_url) as vapi:
        seats = Seats(client, target)
        try:
            seat = await seats.take(slug)
            order = player.order_for(seat, str(uuid4()), CALLER, script=wanted, seed=seed, speed=speed)
            book = await player.play(vapi, order, keep)
            record = await seat.api.ask("GET", f"/v1/calls/{book['call_id']}", (200, 404))
        finally:
            await seats.give_back()
    return {"call": book, "deliveries": deliveries, "record": record, "agrees": agrees(book, record)}


def script_of(script: str) -> Any:
    """A script by name, or the one in a file.

    Raises:
        NotPlayable: the file holds no JSON.
    """
    path = Path(script)
    if not path.is_file():
        return script
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise NotPlayable(f"{script} holds no JSON: {error}") from error


def agrees(book: player.Book, record: dict[str, Any]) -> bool:
    """Whether every message was answered well and the call's record has the figures of its report and its texts."""
    answered = all(counts["messages"] == counts["answered"] for counts in book["by_type"].values())
    figures = {
        "seconds": record.get("seconds"),
        "cost": (record.get("cost") or {}).get("amount"),
        "texts": len(record.get("messages", [])),
    }
    sent: dict[str, Span] = {"seconds": reported(book, "seconds"), "cost": reported(book, "cost"), "texts": sent_by(book)["texts"]}
    return answered and all(sent[name].holds(Decimal(value or 0)) for name, value in figures.items())


def line(delivery: player.Delivery) -> str:
    """A delivery for people."""
    size = f"{delivery['bytes'] / 1000:,.1f} kB"
    again = "" if delivery["copy"] == delivery["attempt"] == 1 else f" (copy {delivery['copy']}, attempt {delivery['attempt']})"
    if delivery["status"] is None:
        return f"{delivery['type']:<38} {size:>11}  no answer{again}: {delivery['error']}"
    replayed = ", replayed" if delivery["replayed"] else ""
    answer = shortened(delivery["answer"] or "")
    return f"{delivery['type']:<38} {size:>11}  {delivery['status']} in {delivery['milliseconds']:,.0f} ms{replayed}{again}  {answer}"


def shortened(answer: str) -> str:
    """An answer, its end left out where it is long."""
    return answer if len(answer) <= SHOWN_ANSWER else f"{answer[:SHOWN_ANSWER]}…"


def summary(result: dict[str, Any]) -> str:
    """What became of the call, for people."""
    book, record = result["call"], result["record"]
    cost = (record.get("cost") or {}).get("amount")
    sent = f"{len(result['deliveries'])} deliveries, {book['texts_asked']} texts asked for, {figures(book['seconds'], book['cost'])}"
    kept = f"{record.get('state', 'nothing')}, {len(record.get('messages', []))} texts, {figures(record.get('seconds'), cost)}"
    lines = [
        f"Call {book['call_id']}, script {book['script']}.",
        f"Sent:     {sent}; report {book['report']}.",
        f"Recorded: {kept}.",
        "Both agree." if result["agrees"] else "They do NOT agree, or a message was not answered well.",
    ]
    return "\n".join(lines)


def figures(seconds: str | None, cost: str | None) -> str:
    """Seconds and cost for people."""
    return f"{seconds or 'no'} seconds, {cost or 'no'} USD"
