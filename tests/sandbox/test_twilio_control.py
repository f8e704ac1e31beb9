import asyncio
import time
from typing import Any

import pytest

from tests.sandbox.parties import PERSON, Control, Texter, eventually


async def test_the_control_url_lists_what_arrived_with_its_moment(texter: Texter, control: Control) -> None:
    before = time.monotonic()
    await texter.create(Body="first", StatusCallback="http://127.0.0.1:9/x#rc=0")
    await texter.create(Body="second", To="+12135550101")
    other = Texter(texter.session, texter.base, account="AC" + "2" * 32)
    await other.create(Body="third")
    after = time.monotonic()
    messages = await control.messages()
    assert [message["body"] for message in messages] == ["first", "second", "third"]
    moments = [message["arrived_at"] for message in messages]
    assert moments == sorted(moments)
    assert before < moments[0] < moments[-1] < after
    assert messages[0]["form"]["StatusCallback"] == "http://127.0.0.1:9/x#rc=0"
    assert [message["body"] for message in await control.messages(to=PERSON)] == ["first", "third"]
    assert [message["body"] for message in await control.messages(account=other.account)] == ["third"]
    assert [message["body"] for message in await control.messages(limit="1")] == ["third"]
    unescaped = await control.ask("GET", f"/control/messages?to={PERSON}&limit=0")
    assert unescaped.json == {"count": 2, "messages": []}


async def test_the_page_escapes_what_it_shows(texter: Texter, control: Control) -> None:
    evil = "<script>alert('1')</script>&amp;"
    await texter.create(Body=evil, From="<b>Shop</b>")
    page = await control.ask("GET", "/")
    assert page.status == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "http-equiv=refresh" in page.text
    assert "&lt;script&gt;alert(&#x27;1&#x27;)&lt;/script&gt;&amp;amp;" in page.text
    assert "&lt;b&gt;Shop&lt;/b&gt;" in page.text
    assert "<script" not in page.text
    assert "<b>" not in page.text


async def test_the_page_tells_what_became_of_callbacks(texter: Texter, control: Control) -> None:
    await control.arm("drop_callback", statuses=["sending", "sent"])
    sid = (await texter.create(StatusCallback="http://127.0.0.1:9/#rc=0")).json["sid"]
    await eventually(lambda: texter.has_status(sid, "delivered"))

    async def shown() -> bool:
        return "delivered failed" in (await control.ask("GET", "/")).text

    await eventually(shown)
    assert "sent not sent" in (await control.ask("GET", "/")).text


@pytest.mark.parametrize(
    ("path", "body", "names"),
    [
        ("/control/faults", {"action": "explode"}, "explode"),
        ("/control/faults", {"match": {}}, "action"),
        ("/control/faults", {"action": "status", "status": 200}, "status"),
        ("/control/faults", {"action": "status", "status": 500, "timse": 1}, "timse"),
        ("/control/faults", {"action": "delay"}, "seconds"),
        ("/control/faults", {"action": "delay", "seconds": -1}, "seconds"),
        ("/control/faults", {"action": "reset_before", "times": 0}, "times"),
        ("/control/faults", {"action": "reset_before", "match": {"too": "+1"}}, "too"),
        ("/control/faults", [], "object"),
        ("/control/accounts", {"sid": "AC1"}, "sid"),
        ("/control/accounts", {"auth_token": "x"}, "sid"),
        ("/control/accounts", {"sid": "AC" + "1" * 32, "segments_per_second": 0}, "segments_per_second"),
        ("/control/accounts", {"sid": "AC" + "1" * 32, "concurency": 1}, "concurency"),
    ],
)
async def test_a_wrong_control_body_gets_a_clear_400(control: Control, path: str, body: Any, names: str) -> None:
    answer = await control.ask("POST", path, json=body)
    assert answer.status == 400
    assert names in answer.json["error"]
    assert (await control.ask("GET", "/control/faults")).json["faults"] == []


async def test_control_takes_json_only(control: Control) -> None:
    for options in ({"data": b'{"action": "reset_before"}', "headers": {"Content-Type": "text/plain"}}, {"json": "x"}):
        assert (await control.ask("POST", "/control/faults", **options)).status == 400
    broken = await control.ask("POST", "/control/faults", data=b"{", headers={"Content-Type": "application/json"})
    assert broken.status == 400
    assert broken.json["error"]


async def test_a_declaration_changes_only_what_it_names_and_shows_no_secret(texter: Texter, control: Control) -> None:
    await control.declare(texter.account, auth_token="very-secret", concurrency=7)
    answer = await control.declare(texter.account, segments_per_second=2.5)
    assert "very-secret" not in answer.text
    account = (await control.ask("GET", "/control/accounts")).json["accounts"][0]
    assert (account["concurrency"], account["segments_per_second"], account["signs_callbacks"]) == (7, 2.5, True)
    assert (await texter.create()).status == 401


async def test_many_creates_at_once_are_all_kept(texter: Texter, control: Control) -> None:
    answers = await asyncio.gather(*(texter.create(Body=f"{n}") for n in range(100)))
    assert {answer.status for answer in answers} == {201}
    kept = await control.messages()
    assert {message["body"] for message in kept} == {f"{n}" for n in range(100)}
    assert len({answer.json["sid"] for answer in answers}) == 100
