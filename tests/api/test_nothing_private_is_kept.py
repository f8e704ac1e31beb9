"""A secret anywhere in a body is nowhere afterwards: not in the database, the log, Sentry or an answer; and no body is a fault of ours."""

import json
import logging
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import webhooks.keys
import webhooks.tool_work
from runtime.logs import add_fields, tell_error, withhold_private
from sandbox.sentry import SentrySandbox
from tests.api.effects import Effects
from tests.api.people import Person, Tenant, new_tenant
from tests.api.reporting import reporting, sent
from tests.webhooks.planting import FAULTY, SECRET, bent, known_places, message_of, planted
from tests.webhooks.shapes import EXAMPLES
from webhooks.bodies import unpack
from webhooks.secrets_in_bodies import GONE

COLUMNS = """
SELECT c.oid::regclass::text AS name FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname IN ('public', 'control') AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY 1
"""
BATCHES = max(2, EXAMPLES // 8)


@pytest.fixture
async def sentry() -> AsyncIterator[SentrySandbox]:
    async with reporting() as sandbox:
        yield sandbox


@pytest.fixture
def logs() -> Iterator[list[str]]:
    """What our own log writes, as a process would write it."""
    written: list[str] = []

    class Written:
        def msg(self, line: str) -> None:
            written.append(line)

        warning = error = info = msg

    last = [add_fields, tell_error, withhold_private, structlog.processors.JSONRenderer()]
    structlog.configure(processors=last, logger_factory=lambda *_: Written(), cache_logger_on_first_use=False)
    yield written
    structlog.reset_defaults()


@pytest.fixture(params=["failures", "all"])
async def keeper(request: pytest.FixtureRequest, admin: Person) -> Tenant:
    """A tenant that keeps bodies."""
    tenant = await new_tenant(admin)
    put = await tenant.ask("PUT", "/v1/retention", {"keys_hours": 720, "bodies_days": 30, "capture": request.param})
    assert put.status_code == 200, put.text
    return tenant


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bugs in the way of one tool and of one type, with all they know in their frames."""
    prepare, own_fields = webhooks.tool_work.prepare, webhooks.keys.own_fields

    def broken_tool(tenant: Any, name: str, caller: str | None, given: dict[str, Any] | None, **about: Any) -> Any:
        if name == "look_up":
            raise ValueError(f"cannot do {name} for {caller}")
        return prepare(tenant, name, caller, given, **about)

    def broken_type(body: bytes) -> bytes:
        if FAULTY.encode() in body:
            raise ValueError(f"cannot read {body!r}")
        return own_fields(body)

    monkeypatch.setattr(webhooks.tool_work, "prepare", broken_tool)
    monkeypatch.setattr(webhooks.keys, "own_fields", broken_type)


async def stored(effects: Effects, *words: str) -> list[str]:
    """The tables that hold one of these words in any column, text or bytes, and the kept bodies that do."""
    tables = [row["name"] for row in await effects.owner.fetch(COLUMNS)]
    wanted = [f"%{form}%" for word in words for form in (word, word.encode().hex())]
    found = [
        table
        for table in tables
        if await effects.owner.fetchval(f"SELECT true FROM {table} AS t WHERE t::text LIKE ANY ($1) LIMIT 1", wanted)
    ]
    bodies = [unpack(row["body"]) for row in await effects.owner.fetch("SELECT body FROM webhook_bodies")]
    return found + ["a kept body" for body in bodies if any(word.encode() in body for word in words)]


@pytest.mark.usefixtures("faults")
@settings(
    max_examples=BATCHES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
    phases=[Phase.explicit, Phase.generate],
)
@given(bodies=st.lists(planted(), min_size=6, max_size=10))
async def test_a_planted_secret_is_nowhere(
    keeper: Tenant,
    effects: Effects,
    sentry: SentrySandbox,
    logs: list[str],
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    bodies: list[dict[str, Any]],
) -> None:
    caplog.set_level(logging.DEBUG)
    answers, secrets = [], []
    for body in bodies:
        word = uuid.uuid4().hex
        secrets.append(SECRET.replace("@@", word))
        sent_body = json.dumps(body).replace("@@", word)
        assert secrets[-1] in sent_body
        answer = await keeper.webhook(sent_body.encode())
        assert answer.status_code in (200, 422), answer.text
        answers.append(answer.text)
    answers += [(await keeper.get("/v1/webhooks?limit=200")).text, (await keeper.get("/v1/calls?limit=200")).text]
    captured = capfd.readouterr()
    told = {
        "answers": "".join(answers),
        "log": "".join(logs) + captured.out + captured.err + caplog.text,
        "Sentry": json.dumps(await sent(sentry), default=str),
    }
    assert [place for place, text in told.items() if any(secret in text for secret in secrets)] == []
    assert await stored(effects, *secrets) == []


@pytest.mark.usefixtures("faults")
async def test_a_fault_tells_its_place_and_keeps_its_body_without_what_was_planted(
    tenant: Tenant, effects: Effects, sentry: SentrySandbox
) -> None:
    secret = SECRET.replace("@@", uuid.uuid4().hex)
    message = message_of(FAULTY) | known_places(secret)
    assert (await tenant.webhook({"message": message})).json() == {}
    (event,) = await sent(sentry)
    assert event["exception"]["values"][-1]["type"] == "ValueError"
    (kept,) = await effects.owner.fetch("SELECT body FROM webhook_bodies WHERE tenant_id = $1", tenant.id)
    shown = json.loads(unpack(kept["body"]))["message"]
    assert shown["phoneNumber"] == {
        "number": "+12135550100",
        **dict.fromkeys(("twilioAccountSid", "twilioAuthToken", "serverUrlSecret"), GONE),
    }
    assert secret not in json.dumps(event, default=str)
    assert await stored(effects, secret) == []


async def test_the_search_finds_what_is_there(tenant: Tenant, effects: Effects) -> None:
    """Else the test above proves nothing: a name that is no secret, in a text, in a kept body."""
    word = f"seen{uuid.uuid4().hex}"
    await tenant.webhook({"message": {"type": "brand.new", "call": {"id": word}, "said": word}})
    await tenant.tool("send_sms", {"body": word})
    assert {"processed_webhooks", "messages", "a kept body"} <= set(await stored(effects, word))


@pytest.mark.usefixtures("faults")
@settings(max_examples=EXAMPLES * 2, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(body=bent())
async def test_whatever_comes_is_answered_in_form_and_alike_a_second_time(tenant: Tenant, body: bytes) -> None:
    body = body.replace(b"@@", uuid.uuid4().hex.encode())
    first, second = await tenant.webhook(body), await tenant.webhook(body)
    assert (first.status_code, second.status_code) in [(status, status) for status in (200, 400, 422)], first.text
    assert isinstance(first.json(), dict)
    if first.status_code == 200:
        assert second.json() == first.json()
        for entry in first.json().get("results", []):
            (words,) = [entry[kind] for kind in ("result", "error") if kind in entry]
            assert words
            assert words.splitlines() == [words]
            assert isinstance(entry["toolCallId"], str)
            assert isinstance(entry["name"], str)
    else:
        assert first.json()["detail"].splitlines() == [first.json()["detail"]]
