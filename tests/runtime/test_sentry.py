"""Whose work an event was about, and how reporting is set up."""

import asyncio
import secrets
import urllib.request
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import sentry_sdk
from aiohttp import web

from runtime import metrics, sentry
from runtime.sentry import COLLECT, NOBODY, OPTIONS, TenantTags, bind_tenant, isolated, report, start_sentry
from sandbox import serving
from sandbox.sentry import SentrySandbox
from tests.runtime.recording import ACME, BOLT, DSN, Recorder, fault, own_tags

pytestmark = pytest.mark.usefixtures("stopped")


@pytest.fixture
async def server() -> AsyncIterator[SentrySandbox]:
    async with SentrySandbox.running() as sandbox:
        yield sandbox


async def test_an_event_arrives_at_a_real_server(server: SentrySandbox) -> None:
    start_sentry(server.dsn(7), "api", "staging", "1.2.3")
    with isolated(ACME, "send message"):
        sentry.tag(**{"message.id": "m1"})
        report(fault())
    await asyncio.to_thread(sentry_sdk.flush, 5)
    (item,) = server.items
    event = item["payload"]
    assert (item["type"], item["project"]) == ("event", "7")
    assert own_tags(event) == ("id-acme", "acme", "gold", "api")
    assert event["tags"]["message.id"] == "m1"
    assert (event["transaction"], event["environment"], event["release"], event["level"]) == ("send message", "staging", "1.2.3", "error")
    (error,) = event["exception"]["values"]
    assert (error["type"], error["value"]) == ("RuntimeError", "broken")
    assert [frame["function"] for frame in error["stacktrace"]["frames"]] == ["fault", "fail"]


async def test_forty_interleaved_jobs_never_mix(recorder: Recorder) -> None:
    """In tasks, in their children, in threads, and in what they leave running behind them."""
    before = metrics.EVENTS_WITHOUT_TENANT._value.get()
    left: list[asyncio.Task[None]] = []

    async def later(words: str) -> None:
        await asyncio.sleep(0.01 * secrets.randbelow(3))
        report(fault(words))

    async def job(number: int) -> None:
        tags = TenantTags(f"id{number}", f"slug{number}", f"tier{number}")
        with isolated(tags if number % 2 else TenantTags(), f"job {number}"):
            await asyncio.sleep(0.01 * secrets.randbelow(3))
            bind_tenant(tags)
            report(fault(f"job {number} itself"))
            await asyncio.gather(later(f"job {number} child"), asyncio.to_thread(report, fault(f"job {number} thread")))
            left.append(asyncio.create_task(later(f"job {number} after")))

    await asyncio.gather(*map(job, range(40)))
    await asyncio.gather(*left)
    assert len(recorder.events) == 160
    for event in recorder.events:
        number = event["exception"]["values"][0]["value"].split()[1]
        assert own_tags(event) == (f"id{number}", f"slug{number}", f"tier{number}", "worker")
        assert event["transaction"] == f"job {number}"
    assert metrics.EVENTS_WITHOUT_TENANT._value.get() == before


async def test_a_job_of_nobody_between_two_tenants(recorder: Recorder) -> None:
    for tags in (ACME, NOBODY, BOLT):
        with isolated(tags, "job"):
            sentry.tag(**{"call.id": tags.slug})
            report(fault())
        with isolated(NOBODY, "look"):
            report(fault())
    assert [own_tags(event)[1] for event in recorder.events] == ["acme", "none", "none", "none", "bolt", "none"]
    assert [event["tags"].get("call.id") for event in recorder.events] == ["acme", None, "none", None, "bolt", None]


@pytest.mark.parametrize("ending", [LookupError, asyncio.CancelledError, TimeoutError])
async def test_nothing_of_a_job_stays_however_it_ends(recorder: Recorder, ending: type[BaseException]) -> None:
    before = metrics.EVENTS_WITHOUT_TENANT._value.get()

    def job() -> None:
        with isolated(ACME, "job"):
            sentry.tag(**{"call.id": "c1"})
            raise ending

    with pytest.raises(ending):
        job()
    report(fault())
    (event,) = recorder.events
    assert own_tags(event) == ("missing", "missing", "missing", "worker")
    assert "call.id" not in event["tags"]
    assert metrics.EVENTS_WITHOUT_TENANT._value.get() == before + 1


async def test_a_job_inside_a_job_takes_nothing_along_and_gives_back_what_was_there(recorder: Recorder) -> None:
    with isolated(ACME, "outer"):
        sentry.tag(**{"call.id": "of-acme"})
        with isolated(BOLT, "inner"):
            report(fault())
        report(fault())
    assert [event["tags"].get("call.id") for event in recorder.events] == [None, "of-acme"]
    assert [(event["tags"]["tenant.slug"], event["transaction"]) for event in recorder.events] == [("bolt", "inner"), ("acme", "outer")]


async def test_a_request_is_unresolved_until_its_tenant_is_known(recorder: Recorder) -> None:
    with isolated(TenantTags(), "unrouted"):
        report(fault())
        sentry.transaction("POST /vapi-webhook/{tenant_slug}")
        bind_tenant(ACME)
        report(fault())
    assert [own_tags(event)[:3] for event in recorder.events] == [("unresolved",) * 3, ("id-acme", "acme", "gold")]
    assert [event["transaction"] for event in recorder.events] == ["unrouted", "POST /vapi-webhook/{tenant_slug}"]


# --- how it is set up ---


def test_without_a_dsn_nothing_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENTRY_DSN", DSN)  # the settings decide, not the SDK's own look at the environment
    start_sentry("", "api", "production", "1")
    assert not sentry_sdk.get_client().is_active()
    with isolated(ACME, "job"):
        sentry.tag(**{"call.id": "c"})
        sentry.transaction("x")
        report(fault())
    assert sentry_sdk.get_isolation_scope()._tags == {}


def test_the_options_are_pinned(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SENTRY_SPOTLIGHT", "SENTRY_DEBUG", "SENTRY_KEEP_ALIVE"):
        monkeypatch.setenv(name, "1")
    start_sentry(DSN, "worker", "test", "1.2.3")
    client = sentry_sdk.get_client()
    assert set(client.integrations) == {"atexit", "dedupe", "excepthook"}
    resolved = client.options["data_collection"]
    assert {name: resolved[name] for name in resolved if name not in COLLECT} == {"provided_by_user": True}
    assert flattened(COLLECT).items() <= flattened(resolved).items()
    for name, value in OPTIONS.items():
        assert name == "data_collection" or client.options[name] == value, name
    assert (client.options["traces_sample_rate"], client.options["profiles_sample_rate"], client.spotlight) == (None, None, None)
    assert recorder.sent == []


def flattened(given: Any, path: str = "") -> dict[str, Any]:
    """A nested setting as single ones."""
    if not isinstance(given, dict):
        return {path: given}
    return {name: value for key, each in given.items() for name, value in flattened(each, f"{path}/{key}").items()}


async def test_no_trace_is_passed_on_to_whom_we_call(recorder: Recorder) -> None:
    """Twilio and tenants' own servers learn nothing of our traces."""
    seen: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        seen.extend(name.lower() for name in request.headers)
        return web.Response()

    app = web.Application()
    app.router.add_get("/", answer)
    async with serving.running(app) as url:
        with isolated(ACME, "job"):
            async with aiohttp.ClientSession() as session:
                await session.get(url)
            await asyncio.to_thread(urllib.request.urlopen, url)
    assert seen.count("host") == 2
    assert not {"sentry-trace", "baggage", "traceparent"} & set(seen)
    assert recorder.sent == []
