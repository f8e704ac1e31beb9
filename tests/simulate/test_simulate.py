"""`trunkline simulate`, a process of its own against a running installation, and what it refuses before anything is played."""

import asyncio
import json
import signal
from decimal import Decimal
from pathlib import Path

import httpx
import pytest

from tests.docs.conftest import House
from tests.simulate.conftest import Relay, data_dir, ended, simulate, started, through

pytestmark = pytest.mark.usefixtures("folding")
SLUG = "demo-dental"
FIGURES = ("webhooks", "duplicates", "texts", "seconds", "cost")
QUICK = ("--speed", "100000", "--seed", "s1", "--duplicates", "0.3")


async def test_both_books_of_a_small_day_agree(house: House) -> None:
    day = await simulate("day", "--tenants", "2", "--calls", "6", "--data-dir", data_dir(house), *QUICK)
    assert day.code == 0, day.out + day.err
    assert "Both books agree." in day.out
    assert day.out.count("simulated-00") == 2


async def test_a_day_in_json_tells_each_tenants_figures_and_their_sums(house: House) -> None:
    day = await simulate("day", "--tenants", "2", "--calls", "6", "--data-dir", data_dir(house), "--json", *QUICK)
    assert (day.code, day.err) == (0, "")
    result = day.json
    assert [row["tenant"] for row in result["rows"]] == ["simulated-001", "simulated-002"]  # found again from the day before
    assert sum(row["calls"] for row in result["rows"]) == result["total"]["calls"] == 6
    for figure in FIGURES:
        for row in (*result["rows"], result["total"]):
            assert row["sent"][figure]["least"] == row["sent"][figure]["most"]
            assert Decimal(row["recorded"][figure]) == Decimal(row["sent"][figure]["least"]), (row["tenant"], figure)
        assert sum(Decimal(row["recorded"][figure]) for row in result["rows"]) == Decimal(result["total"]["recorded"][figure]) > 0
    ended_keys, living_keys = await keys_of_runs(house)
    assert ended_keys > 0
    assert living_keys == 0, "the run's keys end with it"


async def keys_of_runs(house: House) -> tuple[int, int]:
    """How many keys that runs made have ended, and how many are still valid."""
    found: list[bool] = []
    async with httpx.AsyncClient(base_url=house.facts["base_url"]) as client:
        headers = {"Authorization": f"Bearer {house.facts['admin_key']}"}
        for tenant in (await client.get("/v1/admin/tenants", headers=headers)).json()["items"]:
            keys = (await client.get(f"/v1/admin/tenants/{tenant['id']}/keys", headers=headers)).json()["items"]
            found += [key["revoked_at"] is None for key in keys if key["name"] == "simulate"]
    return found.count(False), found.count(True)


@pytest.mark.parametrize("failing", ["PUT /v1/sender", "GET /v1/assistants"])
async def test_keys_end_also_where_the_tenants_cannot_be_had(failing: str, house: House, relay: Relay) -> None:
    before, _ = await keys_of_runs(house)
    relay.failing = failing
    day = await simulate("day", "--tenants", "3", "--calls", "1", *QUICK, *through(relay, house))
    assert (day.code, failing in day.err, len(day.err.splitlines())) == (1, True, 1), day.out + day.err
    after, living = await keys_of_runs(house)
    assert (after > before, living) == (True, 0)


async def test_a_key_ends_also_where_the_assistant_cannot_be_lent(house: House, relay: Relay) -> None:
    before, _ = await keys_of_runs(house)
    relay.asked, relay.failing = ["POST /v1/assistants"], "POST /v1/assistants"
    call = await simulate("call", "--tenant", SLUG, *through(relay, house))
    assert (call.code, "POST /v1/assistants" in call.err) == (1, True), call.out + call.err
    assert await keys_of_runs(house) == (before + 1, 0)


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
async def test_no_proxy_of_the_environment_is_asked(name: str, house: House, relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    for other in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, relay.url)
    call = await simulate("call", "--tenant", SLUG, "--script", "booking", "--speed", "1000", "--data-dir", data_dir(house))
    assert (call.code, relay.asked) == (0, []), call.out + call.err


async def test_the_same_seed_sends_the_same_day(house: House) -> None:
    words = ("day", "--tenants", "1", "--calls", "3", "--data-dir", data_dir(house), "--json", "--speed", "100000", "--duplicates", "0")
    first, again, other = [(await simulate(*words, "--seed", seed)).json for seed in ("x", "x", "y")]
    assert first["total"]["sent"] == again["total"]["sent"] != other["total"]["sent"]


async def test_refusals_in_the_middle_are_retried_and_the_books_still_agree(house: House, relay: Relay) -> None:
    relay.refusals = [503, 503, 500, 503]
    day = await simulate("day", "--tenants", "2", "--calls", "4", "--json", *QUICK, *through(relay, house))
    assert day.code == 0, day.out + day.err
    assert (day.json["failed_deliveries"], day.json["agrees"], relay.refusals) == (4, True, [])


async def test_what_is_recorded_wrongly_is_marked_and_ends_with_1(house: House, relay: Relay) -> None:
    relay.refusals = [204, 204]  # two webhooks that were taken and lost
    day = await simulate("day", "--tenants", "1", "--calls", "2", "--patience", "1", *QUICK, *through(relay, house))
    assert (day.code, "do NOT agree" in day.out, "! " in day.out) == (1, True, True), day.out + day.err


async def test_a_trunkline_that_goes_away_ends_the_day_with_what_was_done(house: House, relay: Relay) -> None:
    relay.shut_after = 60
    words = ("--tenants", "1", "--calls", "60", "--speed", "100000", "--at-once", "1", "--patience", "1")
    day = await simulate("day", *words, *through(relay, house))
    assert day.code == 1, day.out + day.err
    assert "Given up after" in day.out
    assert "could not be read" in day.out


async def test_ctrl_c_ends_politely_with_what_was_done(house: House) -> None:
    process = await started("day", "--tenants", "1", "--calls", "2000", "--speed", "100", "--json", "--data-dir", data_dir(house))
    await asyncio.sleep(3)
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(20):
        day = await ended(process)
    assert (day.code, day.err) == (130, "")
    assert day.json["interrupted"] is True
    assert 0 < day.json["total"]["calls"] < 2000
    assert day.json["total"]["recorded"]["webhooks"] == day.json["total"]["sent"]["webhooks"]["least"]


# -- one call ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", ["s3", "s1"])  # the text alone, and after the time of day in one delivery
async def test_each_message_is_shown_with_its_answer(seed: str, house: House) -> None:
    words = ("--script", "booking", "--seed", seed, "--speed", "1000", "--data-dir", data_dir(house))
    call = await simulate("call", "--tenant", SLUG, *words)
    assert call.code == 0, call.out + call.err
    assert "Both agree." in call.out
    for kind in ("status-update", "tool-calls", "end-of-call-report"):
        assert any(line.startswith(kind) and " 200 in " in line for line in call.out.splitlines()), call.out
    assert "Queued, leaves" in call.out


async def test_a_script_from_a_file_is_played(house: House, tmp_path: Path) -> None:
    script = tmp_path / "call.json"
    steps = [
        {"type": "status-update", "status": "in-progress", "copies": 2},
        {"type": "tool-calls", "calls": [{"name": "current_time"}, {"name": "send_sms", "arguments": {"body": "Hello."}}]},
        {"type": "end-of-call-report"},
    ]
    script.write_text(json.dumps({"steps": steps, "seconds": 61.25, "cost": 0.1234}))
    call = await simulate("call", "--tenant", SLUG, "--script", str(script), "--data-dir", data_dir(house), "--json")
    assert (call.code, call.err) == (0, "")
    result = call.json
    assert [each["type"] for each in result["deliveries"]] == ["status-update", "status-update", "tool-calls", "end-of-call-report"]
    assert (result["record"]["seconds"], result["record"]["cost"]["amount"]) == ("61.25", "0.1234")
    assert len(result["record"]["messages"]) == 1


async def test_the_tenants_own_assistants_keep_their_secrets(house: House) -> None:
    demo = house.facts["demo"]
    async with httpx.AsyncClient(base_url=house.facts["base_url"], headers={"Authorization": f"Bearer {demo['api_key']}"}) as tenant:
        before = (await tenant.get("/v1/assistants")).json()["items"]
        assert (await simulate("call", "--tenant", SLUG, "--speed", "1000", "--data-dir", data_dir(house))).code == 0
        assert (await tenant.get("/v1/assistants")).json()["items"] == before
        hang = {"message": {"type": "hang", "call": {"id": "c1"}}}
        headers = {"Authorization": f"Bearer {demo['webhook_secret']}"}
        assert (await tenant.post(f"/vapi-webhook/{SLUG}", json=hang, headers=headers)).status_code == 200


async def test_a_call_that_is_not_answered_ends_with_1(house: House, relay: Relay) -> None:
    relay.refusals = [403]
    call = await simulate("call", "--tenant", SLUG, "--script", "question", "--speed", "1000", *through(relay, house))
    assert (call.code, "do NOT agree" in call.out, " 403 in " in call.out) == (1, True, True), call.out


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["call", "--tenant", "nobody"], 2, "There is no tenant nobody."),
        (["call", "--tenant", SLUG, "--script", "nosuch"], 1, "there is no script 'nosuch'"),
        (["day", "--base-url", "https://trunkline.example.com"], 2, "--base-url is https://trunkline.example.com"),
        (["day", "--base-url", "http://10.0.0.1:8080"], 2, "on 127.0.0.1 only"),
        (["day", "--vapi-url", "https://api.vapi.ai"], 2, "--vapi-url is https://api.vapi.ai"),
        (["day", "--base-url", "http://127.0.0.1:9"], 2, "Trunkline does not answer"),
        (["day", "--admin-key", "wrong"], 1, "answered with 401"),
    ],
)
async def test_what_cannot_be_played_is_said_in_one_sentence(house: House, words: list[str], code: int, says: str) -> None:
    refused = await simulate(*words, "--data-dir", data_dir(house))
    assert (refused.code, refused.out) == (code, "")
    assert says in refused.err
    assert refused.err.count("\n") == 1
    assert house.facts["admin_key"] not in refused.err


async def test_a_vapi_that_is_no_sandbox_is_named(house: House) -> None:
    twilio = house.facts["twilio_url"]
    refused = await simulate("day", "--data-dir", data_dir(house), "--vapi-url", twilio)
    assert (refused.code, f"{twilio}/control/books" in refused.err) == (2, True), refused.err


async def test_without_an_installation_it_says_how_to_start_one(tmp_path: Path) -> None:
    refused = await simulate("day", "--data-dir", str(tmp_path))
    assert (refused.code, "make run" in refused.err, refused.err.count("\n")) == (2, True, 1)
