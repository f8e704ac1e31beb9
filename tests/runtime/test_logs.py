"""What a process really writes: one JSON document a line, with the tenant at work and nothing private."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runtime.logs import withhold_private

HOUSE = Path(__file__).parents[2]
PHONE = "+19075550123"

STORY = """
import asyncio, logging, sys
from runtime.logs import configure_logs, log
from runtime.sentry import NOBODY, TenantTags, bind_tenant, isolated

async def job(slug, fail):
    with isolated(TenantTags(slug, slug, "gold"), "job"):
        await asyncio.sleep(0.01)
        log.info("at work", of=slug)
        if fail:
            try:
                raise ValueError("cannot text '{phone}' nor {phone}\\nDETAIL: Key (phone)=(Bob)")
            except ValueError:
                log.exception("it failed", body="a transcript", nested={"auth_token": "tok", "to": "{phone}"})
        await asyncio.sleep(0.01)
        log.info("done", of=slug)

async def main():
    await asyncio.gather(*(job(f"t{n}", n == 3) for n in range(8)))
    with isolated(TenantTags(), "request"):
        bind_tenant(TenantTags("late", "late", "gold"))
        log.info("resolved", of="late")
    log.info("nobody's")
    with isolated(NOBODY, "dispatch"):
        log.info("of all", of="none")
    logging.getLogger("some.library").warning("could not reach %s", "{phone}")
    logging.getLogger("some.library").info("chatter")
    try:
        {{}}["{phone}"]
    except KeyError:
        logging.getLogger("some.library").exception("lost")
    asyncio.get_running_loop().create_task(asyncio.to_thread(log.info, "from a thread"))
    await asyncio.sleep(0.05)

configure_logs(sys.argv[1], "worker")
asyncio.run(main())
"""


def told(style: str) -> str:
    """What the story writes to stderr."""
    script = STORY.replace("{phone}", PHONE).replace("{{}}", "{}")
    argv, environment = [sys.executable, "-c", script, style], {"PYTHONPATH": str(HOUSE)}
    done = subprocess.run(argv, cwd=HOUSE, env=environment, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603  our own interpreter
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def lines() -> list[dict[str, Any]]:
    return [json.loads(line) for line in told("json").splitlines()]


def test_every_line_says_when_how_bad_and_which_component(lines: list[dict[str, Any]]) -> None:
    assert len(lines) == 8 * 2 + 1 + 6
    for line in lines:
        assert line.keys() >= {"event", "level", "timestamp", "component"}
        assert line["component"] == "worker"


def test_every_line_of_a_tenants_work_names_that_tenant(lines: list[dict[str, Any]]) -> None:
    of = [line for line in lines if "of" in line]
    assert len(of) == 18
    for line in of:
        assert (line["tenant.id"], line["tenant.slug"]) == (line["of"], line["of"])
        assert line["tenant.tier"] == ("none" if line["of"] == "none" else "gold")


def test_after_the_work_no_line_names_it(lines: list[dict[str, Any]]) -> None:
    (line,) = [line for line in lines if line["event"] == "nobody's"]
    assert not [name for name in line if name.startswith("tenant")]


def test_an_exception_tells_where_and_no_values(lines: list[dict[str, Any]]) -> None:
    (line,) = [line for line in lines if line["event"] == "it failed"]
    assert line["exception"].splitlines()[0] == "ValueError: cannot text [quoted] nor [number]"
    assert "in job" in line["exception"]
    assert (line["body"], line["nested"]) == ("[withheld]", {"auth_token": "[withheld]", "to": "[number]"})


def test_libraries_write_the_same_lines(lines: list[dict[str, Any]]) -> None:
    theirs = [line for line in lines if line.get("logger") == "some.library"]
    assert [(line["event"], line["level"]) for line in theirs] == [("could not reach [number]", "warning"), ("lost", "error")]
    assert theirs[1]["exception"].startswith("KeyError: [quoted]")


@pytest.mark.parametrize("style", ["json", "console"])
def test_nothing_private_is_written(style: str) -> None:
    written = told(style)
    assert [private for private in (PHONE, PHONE[2:], "Bob", "a transcript", '"tok"', "'tok'") if private in written] == []
    assert "it failed" in written


@pytest.mark.parametrize(
    "name",
    ["secret", "auth_token", "AUTHORIZATION", "vapi_api_key", "password", "body", "recipient", "webhook_secret_sealed", "transcript"],
)
def test_a_field_with_a_telling_name_is_withheld_at_any_depth(name: str) -> None:
    shown = withhold_private(None, "info", {"event": "x", name: "private", "deep": [{"er": {name: {"private": 1}}}]})
    assert "private" not in json.dumps(shown)
    assert shown["event"] == "x"


def test_other_fields_stay_as_they_are() -> None:
    event = {"event": "x", "count": 3, "ratio": 0.5, "flag": True, "none": None, "id": "01900000-0000-7000-8000-000000000001"}
    assert withhold_private(None, "info", dict(event)) == event
