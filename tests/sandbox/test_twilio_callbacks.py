import socket

import aiohttp
import pytest
from twilio.request_validator import RequestValidator

from sandbox.twilio.callbacks import Policy, signature
from tests.sandbox.parties import PERSON, SENDER, SERVICE, Application, Control, Texter, eventually

WHOLE_LIFE = ["sending", "sent", "delivered"]


async def tries(control: Control) -> list[dict[str, object]]:
    return [one for message in await control.messages() for callback in message["callbacks"] for one in callback["tries"]]


def test_the_signature_is_that_of_a_known_vector() -> None:
    parameters = {
        "AccountSid": "AC" + "0" * 32,
        "From": "+12025550199",
        "MessageSid": "SM" + "0" * 32,
        "MessageStatus": "delivered",
        "To": "+12025550123",
    }
    url = "https://hooks.example.com/twilio/status/t1/m1"
    assert signature("12345", url, parameters) == "mFHE7/BVmbHFE5/fnJQEbHjF35M="


async def test_every_change_after_the_first_state_is_told_and_signed(texter: Texter, application: Application) -> None:
    url = f"{application.url}/status/m%7E1?s=a+b%2Bc"  # as written, though %7E is ~
    sid = (await texter.create(StatusCallback=f"{url}#rc=2&rp=all")).json["sid"]
    await eventually(lambda: len(application.got) == 3)
    assert application.told() == WHOLE_LIFE
    for got in application.got:
        assert got.url == url
        assert got.form["MessageSid"] == got.form["SmsSid"] == sid
        assert got.form["SmsStatus"] == got.form["MessageStatus"]
        assert (got.form["AccountSid"], got.form["From"], got.form["To"]) == (texter.account, SENDER, PERSON)
        assert got.headers["content-type"].startswith("application/x-www-form-urlencoded")
        assert RequestValidator(texter.token).validate(url, got.form, got.headers["x-twilio-signature"])
        assert not RequestValidator("other").validate(url, got.form, got.headers["x-twilio-signature"])
    assert application.got[-1].form["RawDlrDoneDate"].isdigit()


async def test_a_messaging_service_is_told_from_queued_on(texter: Texter, application: Application) -> None:
    await texter.create(MessagingServiceSid=SERVICE, StatusCallback=application.url + "/")
    await eventually(lambda: len(application.got) == 4)
    assert application.told() == ["queued", *WHOLE_LIFE]
    assert {got.form["MessagingServiceSid"] for got in application.got} == {SERVICE}


async def test_callbacks_of_an_api_key_are_signed_once_the_token_is_declared(
    texter: Texter, control: Control, application: Application
) -> None:
    texter.user, url = "SK" + "0" * 32, application.url + "/"
    await texter.create(StatusCallback=url)
    await eventually(lambda: len(application.got) == 3)
    assert all("x-twilio-signature" not in got.headers for got in application.got)
    await control.declare(texter.account, auth_token="declared")
    application.got.clear()
    await texter.create(StatusCallback=url)
    await eventually(lambda: len(application.got) == 3)
    for got in application.got:
        assert RequestValidator("declared").validate(url, got.form, got.headers["x-twilio-signature"])


async def test_a_dropped_callback_never_comes(texter: Texter, control: Control, application: Application) -> None:
    await control.arm("drop_callback", statuses=["sent"], times=1)
    sid = (await texter.create(StatusCallback=application.url + "/")).json["sid"]
    await eventually(lambda: "delivered" in application.told())
    assert application.told() == ["sending", "delivered"]
    assert (await texter.fetch(sid))["status"] == "delivered"
    await texter.create(StatusCallback=application.url + "/")
    await eventually(lambda: application.told()[2:] == WHOLE_LIFE)


async def test_repeated_callbacks_carry_the_same_token(texter: Texter, control: Control, application: Application) -> None:
    await control.arm("repeat_callback", copies=3, statuses=["delivered"])
    await texter.create(StatusCallback=application.url + "/")
    await eventually(lambda: len(application.got) == 5)
    assert application.told() == ["sending", "sent", "delivered", "delivered", "delivered"]
    assert len({got.headers["i-twilio-idempotency-token"] for got in application.got[2:]}) == 1
    assert len({got.headers["i-twilio-idempotency-token"] for got in application.got}) == 3


async def test_reordered_callbacks_come_last_first(texter: Texter, control: Control, application: Application) -> None:
    await control.arm("reorder_callbacks", match={"to": PERSON})
    await texter.create(StatusCallback=application.url + "/")
    await texter.create(To="+12135550101", StatusCallback=application.url + "/other")
    await eventually(lambda: len(application.got) == 6)
    assert [got.form["MessageStatus"] for got in application.got if got.form["To"] == PERSON] == WHOLE_LIFE[::-1]
    assert [got.form["MessageStatus"] for got in application.got if got.form["To"] != PERSON] == WHOLE_LIFE


async def test_a_delayed_callback_comes_late(texter: Texter, control: Control, application: Application) -> None:
    await control.arm("delay_callback", seconds=0.4, statuses=["sent"])
    await texter.create(StatusCallback=application.url + "/")
    await eventually(lambda: len(application.got) == 3)
    assert application.told() == ["sending", "delivered", "sent"]
    assert 0.35 < application.got[2].at - application.got[0].at < 3


@pytest.mark.parametrize(("status", "told"), [("undelivered", ["sending", "sent", "undelivered"]), ("failed", ["sending", "failed"])])
async def test_a_message_can_end_badly(texter: Texter, control: Control, application: Application, status: str, told: list[str]) -> None:
    await control.arm("undelivered", status=status, error_code=30005, times=1)
    sid = (await texter.create(StatusCallback=application.url + "/")).json["sid"]
    await eventually(lambda: len(application.got) == len(told))
    assert application.told() == told
    last = application.got[-1].form
    assert (last["ErrorCode"], last["ErrorMessage"]) == ("30005", "Unknown destination handset")
    message = await texter.fetch(sid)
    assert (message["status"], message["error_code"], message["error_message"]) == (status, 30005, last["ErrorMessage"])


async def test_failures_are_retried_as_the_fragment_asks(texter: Texter, control: Control, application: Application) -> None:
    await control.arm("drop_callback", statuses=["sending", "sent"])
    application.statuses = [500, 503, 200]
    await texter.create(StatusCallback=application.url + "/#rc=5&rp=5xx")
    await eventually(lambda: len(application.got) == 3)
    assert len({got.headers["i-twilio-idempotency-token"] for got in application.got}) == 1
    assert [one["http_status"] for one in await tries(control)] == [500, 503, 200]


async def test_by_default_an_error_answer_is_not_retried(texter: Texter, control: Control, application: Application) -> None:
    application.statuses = [500, 404]
    sid = (await texter.create(StatusCallback=application.url + "/")).json["sid"]
    await eventually(lambda: len(application.got) == 3)
    await eventually(lambda: texter.has_status(sid, "delivered"))
    assert application.told() == WHOLE_LIFE
    assert [one["http_status"] for one in await tries(control)] == [500, 404, 204]


async def test_by_default_a_failed_connection_is_retried_once(texter: Texter, control: Control) -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        await control.arm("drop_callback", statuses=["sending", "sent"])
        await texter.create(StatusCallback=f"http://127.0.0.1:{unheard.getsockname()[1]}/")

        async def tried_twice() -> bool:
            return len(await tries(control)) == 2

        await eventually(tried_twice)
        assert [one["http_status"] for one in await tries(control)] == [None, None]


def test_a_fragment_out_of_range_keeps_the_defaults() -> None:
    assert Policy.of("rc=6&ct=1&tt=99999&rt=x") == Policy()
    assert Policy.of("rc=3&ct=500&rp=all") == Policy(connect=0.5, retries=3, on=frozenset({"all"}))


async def test_after_clearing_nothing_more_is_told(
    texter: Texter, control: Control, application: Application, session: aiohttp.ClientSession
) -> None:
    await texter.create(StatusCallback=application.url + "/first")
    async with session.delete(control.base + "/control/messages") as response:
        assert response.status == 204
    await texter.create(StatusCallback=application.url + "/second")
    await eventually(lambda: "delivered" in application.told())
    assert {got.url for got in application.got} == {application.url + "/second"}
    assert len(await control.messages()) == 1
