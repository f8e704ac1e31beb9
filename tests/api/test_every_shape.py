"""Tool calls in every shape, posted to the real door: each gets its answer, is done once, and nothing else is done."""

import json
import uuid
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings

from tests.api.effects import Effects
from tests.api.people import Tenant
from tests.webhooks.shapes import DELIVERIES, EXAMPLES, Delivery, Wish

OURS = {"send_sms", "current_time"}


def expected(wish: Wish, word: str) -> dict[str, str]:
    return {"toolCallId": wish.id.replace("@@", word), "name": wish.name}


def said_of(entry: dict[str, Any]) -> tuple[str, str]:
    """The one text of an answer: its kind and its words."""
    ((kind, words),) = [(kind, entry[kind]) for kind in ("result", "error") if kind in entry]
    assert isinstance(words, str)
    assert words
    assert words.splitlines() == [words]
    return kind, words


def judge(delivery: Delivery, word: str, answer: Any) -> None:
    """The answer is strict, whatever came."""
    if delivery.legacy:
        assert set(answer) == {"result"}
        said_of(answer)
        return
    assert set(answer) == {"results"}
    entries = answer["results"]
    assert [{"toolCallId": each["toolCallId"], "name": each["name"]} for each in entries] == [
        expected(wish, word) for wish in delivery.wishes
    ]
    assert [said_of(each)[0] for each in entries] == ["result" if wish.name in OURS else "error" for wish in delivery.wishes]


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(delivery=DELIVERIES)
@example(Delivery({"type": "tool-calls", "toolCallList": []}, ()))
async def test_every_shape_is_answered_call_by_call_and_done_once(tenant: Tenant, effects: Effects, delivery: Delivery) -> None:
    word = uuid.uuid4().hex
    body = delivery.rendered(word)
    await unlimited(tenant, effects)
    first = await tenant.webhook(body)
    assert (first.status_code, first.headers["content-type"]) == (200, "application/json"), first.text
    judge(delivery, word, first.json())
    second = await tenant.webhook(body)
    assert second.status_code == 200
    assert second.json() == first.json()
    assert await texts(effects, tenant, word) == sorted(
        wish.arguments["body"].replace("@@", word) for wish in delivery.wishes if wish.name == "send_sms"
    )


async def unlimited(tenant: Tenant, effects: Effects) -> None:
    """As many texts in a call as the policy can allow, and none of the examples before counts."""
    policy = {"destinations": "anyone", "texts_per_call": 20, "texts_per_recipient_day": 100}
    assert (await tenant.ask("PUT", "/v1/text-policy", policy)).status_code == 200
    await effects.owner.execute("DELETE FROM messages WHERE tenant_id = $1", tenant.id)


async def texts(effects: Effects, tenant: Tenant, word: str) -> list[str]:
    query = "SELECT body FROM messages WHERE tenant_id = $1 AND body LIKE $2 ORDER BY body"
    return [row["body"] for row in await effects.owner.fetch(query, tenant.id, f"{word}%")]


async def test_a_hooks_call_is_done_once_however_often_it_comes(tenant: Tenant, effects: Effects) -> None:
    """Its id is the same for every call, so it is known by its arguments."""

    def hook(words: str) -> dict[str, Any]:
        properties = {"body": {"type": "string", "value": words}}
        return {"id": "hook-function-call", "function": {"name": "send_sms", "arguments": {"type": "object", "properties": properties}}}

    for words in ("one", "two", "one"):
        message = {"type": "tool-calls", "call": {"id": "c"}, "customer": {"number": "+12135550123"}, "toolCallList": [hook(words)]}
        answer = (await tenant.webhook({"message": message})).json()
        assert said_of(answer["results"][0])[0] == "result"
    rows = await effects.rows(tenant, "messages")
    assert sorted(row["body"] for row in rows) == ["one", "two"]
    assert [json.loads(row["arguments"]) for row in await effects.rows(tenant, "processed_webhooks")] == [{"body": "one"}, {"body": "two"}]


@pytest.mark.parametrize("junk", [b"1e999", b"1" * 5_000, b'"\\ud800"', b'"\xff"', b"[" * 5_000 + b"]" * 5_000], ids=len)
async def test_a_call_that_cannot_be_read_takes_no_neighbour_with_it(tenant: Tenant, effects: Effects, junk: bytes) -> None:
    calls = b'{"id":"a","name":"look_up","arguments":{"n":%b}},{"id":"b","name":"send_sms","arguments":{"body":"both"}}' % junk
    body = b'{"message":{"type":"tool-calls","customer":{"number":"+12135550123"},"call":{"id":"c"},"toolCallList":[%b]}}' % calls
    answer = await tenant.webhook(body)
    if answer.status_code == 400:  # nested so deeply that nobody can tell where it ends
        assert junk.startswith(b"[")
        return
    first, second = answer.json()["results"]
    assert (first["toolCallId"], said_of(first)[0], second["toolCallId"], said_of(second)[0]) == ("a", "error", "b", "result")
    assert await effects.count(tenant, "messages") == 1
