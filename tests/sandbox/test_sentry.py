import asyncio
import gzip
import json
import zlib
from typing import Any

import aiohttp
import pytest
import sentry_sdk
from sentry_sdk.crons import monitor

from sandbox.sentry import SentrySandbox, parse
from tests.sandbox.parties import Http

EVENT = {"event_id": "a" * 32, "message": "broken", "tags": {"tenant.id": "t1"}}


def envelope(*items: tuple[str, Any], lengths: bool = True) -> bytes:
    lines = [json.dumps({"event_id": "a" * 32}).encode()]
    for kind, payload in items:
        body = json.dumps(payload).encode()
        lines += [json.dumps({"type": kind, **({"length": len(body)} if lengths else {})}).encode(), body]
    return b"\n".join(lines) + b"\n"


@pytest.fixture
def ingest(sentry: SentrySandbox, session: aiohttp.ClientSession) -> Http:
    return Http(session, sentry.url)


async def items(ingest: Http, **query: str) -> list[dict[str, Any]]:
    return list((await ingest.ask("GET", "/control/items", params=query)).json["items"])


@pytest.mark.parametrize("lengths", [True, False])
@pytest.mark.parametrize("encoding", ["identity", "gzip", "deflate"])
async def test_an_envelope_is_kept_decoded(ingest: Http, encoding: str, lengths: bool) -> None:
    plain = envelope(("event", EVENT), ("check_in", {"status": "ok"}), lengths=lengths)
    body = {"identity": plain, "gzip": gzip.compress(plain), "deflate": zlib.compress(plain)}[encoding]
    answer = await ingest.ask("POST", "/api/7/envelope/", data=body, headers={"Content-Encoding": encoding})
    assert (answer.status, answer.json) == (200, {"id": "a" * 32})
    kept = await items(ingest)
    assert [(item["type"], item["project"]) for item in kept] == [("event", "7"), ("check_in", "7")]
    assert kept[0]["payload"] == EVENT
    assert kept[0]["envelope"]["event_id"] == "a" * 32


async def test_items_are_chosen_and_cleared(ingest: Http) -> None:
    for project, kind in (("1", "event"), ("1", "transaction"), ("2", "event")):
        await ingest.ask("POST", f"/api/{project}/envelope/", data=envelope((kind, {"project": project})))
    assert [item["payload"]["project"] for item in await items(ingest, type="event")] == ["1", "2"]
    assert [item["type"] for item in await items(ingest, project="1")] == ["event", "transaction"]
    assert [item["project"] for item in await items(ingest, limit="1")] == ["2"]
    assert (await ingest.ask("DELETE", "/control/items")).status == 204
    assert await items(ingest) == []


@pytest.mark.parametrize("body", [b"", b"not json\n", b"[]\n", b'{}\n{"type":"event","length":99}\n{}', b"{}\nnot json\n{}"])
async def test_what_is_no_envelope_is_refused(ingest: Http, body: bytes) -> None:
    answer = await ingest.ask("POST", "/api/1/envelope/", data=body)
    assert answer.status == 400
    assert "invalid envelope" in answer.json["detail"]
    assert await items(ingest) == []


def test_payloads_may_hold_line_breaks_and_need_not_be_json() -> None:
    payload = b"line\n\nline"
    _, parsed = parse(b'{}\n{"type":"attachment","length":%d}\n%s\n{"type":"event"}\n{}' % (len(payload), payload))
    assert [(item["type"], item["payload"]) for item in parsed] == [("attachment", "line\n\nline"), ("event", {})]


async def test_the_official_client_is_understood(sentry: SentrySandbox, ingest: Http) -> None:
    def reports() -> None:
        client = sentry_sdk.Client(dsn=sentry.dsn(3), auto_enabling_integrations=False, default_integrations=False, traces_sample_rate=1.0)
        with sentry_sdk.isolation_scope() as scope:
            scope.set_client(client)
            scope.set_tag("tenant.id", "t1")
            with sentry_sdk.start_transaction(name="work"):
                sentry_sdk.capture_exception(ValueError("broken"))
            with monitor(monitor_slug="reaper"):
                pass
            client.flush(timeout=5)
            client.close(timeout=5)

    await asyncio.to_thread(reports)
    event = (await items(ingest, type="event", project="3"))[0]["payload"]
    assert event["exception"]["values"][0]["value"] == "broken"
    assert event["tags"]["tenant.id"] == "t1"
    assert [item["payload"]["transaction"] for item in await items(ingest, type="transaction")] == ["work"]
    assert [item["payload"]["status"] for item in await items(ingest, type="check_in")] == ["in_progress", "ok"]
