"""Five megabytes of anything are taken or refused; they are no fault of ours, and nobody's neighbour waits for them."""

import json
from typing import Any

import pytest

from tests.api.effects import Effects
from tests.api.people import Tenant
from webhooks.tool_calls import TOO_LONG

FULL = 4_800_000
FILLINGS = {
    "one text": b'"x":"' + b"a" * FULL + b'"',
    "field names": b",".join(b'"k%d":1' % number for number in range(400_000)),
    "field names inside": b'"x":{' + b",".join(b'"k%d":1' % number for number in range(400_000)) + b"}",
    "one name again and again": b",".join([b'"x":1'] * 800_000),
    "numbers": b'"x":[' + b"1," * (FULL // 2) + b"1]",
    "one number": b'"x":' + b"1" * FULL,
    "empty objects": b'"x":[' + b"{}," * 1_600_000 + b"{}]",
    "questions": b'"x":"https://' + b"?=" * (FULL // 2) + b'"',
    "signed addresses": b'"x":"https://' + b"?sig=sv=se=" * 400_000 + b'"',
    "one signed address": b'"x":"https://?X-Amz-Signature=' + b"&X-Amz-a=" * 500_000 + b'"',
    "escapes": b'"x":"' + b"\\u0041" * 800_000 + b'"',
    "backslashes before half a character": b'"x":"' + b"\\\\" * (FULL // 2) + b'\\ud800"',
    "no UTF-8": b'"x":"' + b"\xff" * FULL + b'"',
    "NUL": b'"x":"' + b"\\u0000" * 800_000 + b'"',
    "depth": b'"x":' + b"[" * 900 + b"1" + b"]" * 900 + b',"y":"' + b"a" * FULL + b'"',
}
REFUSED = {
    "half characters": b'"x":"' + b"\\ud800" * 800_000 + b'"',
    "too much depth": b'"x":' + b"[" * (FULL // 2) + b"]" * (FULL // 2),
    "too much depth, cut off": b'"x":' + b'{"a":' * 900_000,
    "NUL as it is": b'"x":"' + b"\x00" * FULL + b'"',
}


def hang(filling: bytes) -> bytes:
    return b'{"message":{"type":"hang","call":{"id":"c"},' + filling + b"}}"


@pytest.fixture
async def keeper(tenant: Tenant) -> Tenant:
    """A tenant that keeps all bodies."""
    put = await tenant.ask("PUT", "/v1/retention", {"keys_hours": 720, "bodies_days": 7, "capture": "all"})
    assert put.status_code == 200
    return tenant


@pytest.mark.parametrize("filling", FILLINGS.values(), ids=FILLINGS)
async def test_megabytes_of_anything_are_recorded_once(keeper: Tenant, effects: Effects, filling: bytes) -> None:
    answers = [await keeper.webhook(hang(filling)) for _ in range(2)]
    assert [(answer.status_code, answer.json()) for answer in answers] == [(200, {})] * 2
    assert await effects.counts(keeper) == {"processed_webhooks": 1}
    bodies = await effects.owner.fetchval("SELECT count(*) FROM webhook_bodies WHERE tenant_id = $1", keeper.id)
    assert bodies == 1


@pytest.mark.parametrize("filling", REFUSED.values(), ids=REFUSED)
async def test_megabytes_that_cannot_be_read_are_refused(keeper: Tenant, effects: Effects, filling: bytes) -> None:
    answer = await keeper.webhook(hang(filling))
    assert answer.status_code == 400, answer.text
    assert await effects.counts(keeper) == {}


def calls_with(arguments: list[Any]) -> bytes:
    items = [{"id": f"c{number}", "name": "send_sms", "arguments": given} for number, given in enumerate(arguments)]
    return json.dumps({"message": {"type": "tool-calls", "call": {"id": "c"}, "toolCallList": items}}).encode()


async def test_arguments_of_megabytes_are_answered_and_not_done(keeper: Tenant, effects: Effects) -> None:
    text = {"to": "+12135550123", "body": "See you at three."}
    answer = await keeper.webhook(calls_with([{"body": "x" * FULL}, text]))
    first, second = answer.json()["results"]
    assert first == {"toolCallId": "c0", "name": "send_sms", "error": TOO_LONG}
    assert "result" in second
    assert await effects.count(keeper, "messages") == 1


async def test_many_long_arguments_are_done_as_far_as_there_is_room(keeper: Tenant, effects: Effects) -> None:
    given = [{"to": "+12135550123", "body": f"Text {number}.", "padding": [0] * 30_000} for number in range(10)]
    answer = await keeper.webhook(calls_with(given))
    assert ["result" in entry for entry in answer.json()["results"]] == [True] * 3 + [False] * 7
    assert await effects.count(keeper, "messages") == 3


async def test_calls_without_end_are_refused(keeper: Tenant, effects: Effects) -> None:
    body = b'{"message":{"type":"tool-calls","toolCallList":[' + b'{"id":"1"},' * 400_000 + b"{}]}}"
    answer = await keeper.webhook(body)
    assert answer.status_code == 400
    assert await effects.counts(keeper) == {}
