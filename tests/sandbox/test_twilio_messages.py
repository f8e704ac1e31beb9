import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import pytest
from twilio.rest import Client

from sandbox.twilio import TwilioSandbox
from tests.sandbox.parties import PERSON, SENDER, SERVICE, Control, Texter, eventually

FIELDS = {
    "account_sid", "api_version", "body", "date_created", "date_sent", "date_updated", "direction", "error_code", "error_message", "from",
    "messaging_service_sid", "num_media", "num_segments", "price", "price_unit", "sid", "status", "subresource_uris", "to", "uri",
}  # fmt: skip


async def test_a_create_answers_the_message_as_twilio_types_it(texter: Texter) -> None:
    answer = await texter.create(Body="é" * 161)
    message = answer.json
    assert answer.status == 201
    assert set(message) == FIELDS
    assert (message["status"], message["direction"], message["api_version"]) == ("queued", "outbound-api", "2010-04-01")
    assert (message["num_segments"], message["num_media"], message["price_unit"]) == ("2", "0", "USD")
    nulls = {name for name in FIELDS if message[name] is None}
    assert nulls == {"date_sent", "error_code", "error_message", "messaging_service_sid", "price"}
    assert (message["from"], message["to"], message["account_sid"]) == (SENDER, PERSON, texter.account)
    assert len(message["sid"]) == 34
    assert message["sid"].startswith("SM")
    assert message["uri"] == texter.message_path(message["sid"])
    assert abs(parsedate_to_datetime(message["date_created"]) - datetime.now(UTC)) < timedelta(seconds=3)
    assert message["date_created"].endswith("+0000")
    assert answer.headers["twilio-concurrent-requests"] == "1"
    assert answer.headers["twilio-request-id"].startswith("RQ")


async def test_a_message_is_sent_and_delivered_in_time(texter: Texter, control: Control) -> None:
    await control.declare(texter.account, sent_after=0.4, delivered_after=0.2, segments_per_second=5)
    await texter.create()  # so that the next one waits
    sid = (await texter.create()).json["sid"]
    seen = []
    while "delivered" not in seen:
        status = (await texter.fetch(sid))["status"]
        seen += [status] if status not in seen else []
        await asyncio.sleep(0.002)
    assert seen == ["queued", "sending", "sent", "delivered"]
    message = await texter.fetch(sid)
    assert message["date_sent"] is not None
    assert message["price"] == "-0.00790"
    assert message["error_code"] is None


async def test_a_messaging_service_picks_the_sender_later(texter: Texter, control: Control) -> None:
    pool = ["+12025550101", "+12025550102"]
    await control.declare(texter.account, messaging_services={SERVICE: pool})
    answers = [(await texter.create(MessagingServiceSid=SERVICE, Body="é" * 161)).json for _ in range(2)]
    for message in answers:
        assert (message["status"], message["from"], message["num_segments"]) == ("accepted", None, "0")
        assert message["messaging_service_sid"] == SERVICE
        await eventually(lambda sid=message["sid"]: texter.has_status(sid, "delivered"))  # type: ignore[misc]
    later = [await texter.fetch(message["sid"]) for message in answers]
    assert [message["from"] for message in later] == pool
    assert [message["num_segments"] for message in later] == ["2", "2"]


async def test_a_scheduled_message_waits_and_can_be_canceled(texter: Texter, control: Control) -> None:
    await control.declare(texter.account, schedule_ahead=0)
    soon = (datetime.now(UTC) + timedelta(seconds=0.3)).isoformat()
    leaving, canceled = [(await texter.create(MessagingServiceSid=SERVICE, SendAt=soon, ScheduleType="fixed")).json for _ in range(2)]
    assert leaving["status"] == canceled["status"] == "scheduled"
    answer = await texter.call("POST", texter.message_path(canceled["sid"]), data={"Status": "canceled"})
    assert (answer.status, answer.json["status"]) == (200, "canceled")
    await eventually(lambda: texter.has_status(leaving["sid"], "delivered"))
    assert (await texter.fetch(canceled["sid"]))["status"] == "canceled"
    late = await texter.call("POST", texter.message_path(leaving["sid"]), data={"Status": "canceled"})
    assert (late.status, late.json["code"]) == (400, 30409)


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({"SendAt": ""}, 35111),
        ({"MessagingServiceSid": "", "From": SENDER}, 35118),
        ({"SendAt": "tomorrow"}, 35114),
        ({"SendAt": (datetime.now(UTC) + timedelta(minutes=14)).isoformat()}, 35114),
        ({"SendAt": (datetime.now(UTC) + timedelta(days=36)).isoformat()}, 35114),
        ({"ScheduleType": "floating"}, 35126),
    ],
)
async def test_a_schedule_that_twilio_refuses(texter: Texter, form: dict[str, str], code: int) -> None:
    in_time = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    answer = await texter.create(**{"MessagingServiceSid": SERVICE, "SendAt": in_time, "ScheduleType": "fixed", **form})
    assert (answer.status, answer.json["code"]) == (400, code)


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({"From": "+15005550001"}, 21212),
        ({"From": "+15005550007"}, 21606),
        ({"From": "+15005550008"}, 21611),
        ({"From": "+15005550005"}, 21606),
        ({"To": "+15005550001"}, 21211),
        ({"To": "+15005550002"}, 21612),
        ({"To": "+15005550003"}, 21408),
        ({"To": "+15005550004"}, 21610),
        ({"To": "+15005550009"}, 21614),
        ({"To": "2135550123"}, 21211),
        ({"To": ""}, 21604),
        ({"From": ""}, 21603),
        ({"Body": ""}, 21602),
        ({"Body": "x" * 1601}, 21617),
        ({"MessagingServiceSid": "MGnone"}, 21701),
        ({"ValidityPeriod": "0"}, 21624),
        ({"ValidityPeriod": "36001"}, 21624),
        ({"StatusCallback": "not a url"}, 21609),
        ({"StatusCallback": "http://a_b.example.com/"}, 21609),
    ],
)
async def test_what_twilio_refuses_is_refused_with_its_code(texter: Texter, control: Control, form: dict[str, str], code: int) -> None:
    answer = await texter.create(**form)
    assert answer.status == 400
    assert answer.json["code"] == code
    assert answer.json["more_info"] == f"https://www.twilio.com/docs/errors/{code}"
    assert answer.json["status"] == 400
    assert answer.json["message"]
    assert await control.messages() == []


async def test_the_magic_sender_and_the_longest_body_work(texter: Texter) -> None:
    assert (await texter.create(From="+15005550006", Body="x" * 1600)).json["num_segments"] == "11"


async def test_smart_encoding_counts_the_swapped_text(texter: Texter) -> None:
    text = "\u201cit\u2019s fine\u201d" + "x" * 140
    assert (await texter.create(Body=text)).json["num_segments"] == "3"
    swapped = (await texter.create(Body=text, SmartEncoded="true")).json
    assert (swapped["num_segments"], swapped["body"]) == ("1", '"it\'s fine"' + "x" * 140)


async def test_the_first_password_counts_until_another_is_declared(texter: Texter, control: Control) -> None:
    assert (await texter.create()).status == 201
    texter.token = "wrong"
    refused = await texter.create()
    assert (refused.status, refused.json["code"]) == (401, 20003)
    await control.declare(texter.account, auth_token="wrong")
    assert (await texter.create()).status == 201
    assert len(await control.messages()) == 2


async def test_api_keys_open_an_account_and_foreign_users_do_not(texter: Texter, control: Control) -> None:
    texter.user, texter.token = "SK" + "0" * 32, "secret"
    assert (await texter.create()).status == 201
    texter.token = "other"
    assert (await texter.create()).status == 401
    texter.user = "AC" + "9" * 32
    assert (await texter.create()).status == 401
    assert (await texter.ask("POST", texter.messages_path)).json["code"] == 20003
    assert len(await control.messages()) == 1


async def test_paths_that_are_not_there_answer_in_twilios_form(texter: Texter) -> None:
    sid = (await texter.create()).json["sid"]
    other = Texter(texter.session, texter.base, account="AC" + "2" * 32)
    for answer in (
        await texter.call("GET", texter.message_path("SM" + "0" * 32)),
        await other.call("GET", other.message_path(sid)),
        await texter.call("GET", "/2010-04-01/Accounts/ACshort/Messages.json"),
        await texter.call("GET", "/2010-04-01/Nothing.json"),
    ):
        assert (answer.status, answer.json["code"]) == (404, 20404)
    assert (await texter.call("PUT", texter.messages_path)).json["code"] == 20004


async def test_redact_and_delete_wait_for_the_end(texter: Texter) -> None:
    sid = (await texter.create()).json["sid"]
    path = texter.message_path(sid)
    for early in (await texter.call("POST", path, data={"Body": ""}), await texter.call("DELETE", path)):
        assert (early.status, early.json["code"]) == (409, 20009)
    await eventually(lambda: texter.has_status(sid, "delivered"))
    redacted = await texter.call("POST", path, data={"Body": ""})
    assert (redacted.status, redacted.json["body"]) == (200, "")
    assert (await texter.call("POST", path, data={"Body": "new"})).status == 400
    deleted = await texter.call("DELETE", path)
    assert (deleted.status, deleted.text) == (204, "")
    assert (await texter.call("GET", path)).status == 404
    assert (await texter.call("GET", texter.messages_path)).json["messages"] == []


async def test_lists_are_newest_first_in_pages_that_do_not_shift(texter: Texter) -> None:
    sids = [(await texter.create()).json["sid"] for _ in range(5)]
    page = (await texter.call("GET", texter.messages_path, params={"PageSize": "2"})).json
    assert (page["page"], page["page_size"], page["start"], page["end"], page["previous_page_uri"]) == (0, 2, 0, 1, None)
    await texter.create()
    walked = [message["sid"] for message in page["messages"]]
    while page["next_page_uri"]:
        page = (await texter.call("GET", page["next_page_uri"])).json
        walked += [message["sid"] for message in page["messages"]]
    assert walked == sids[::-1]
    assert page["page"] == 2
    assert page["previous_page_uri"]


async def test_lists_filter_by_people_and_by_the_moment_of_sending(texter: Texter, control: Control) -> None:
    await control.declare(texter.account, sender_rates={"+12025550188": 0.001})
    sent = (await texter.create(To="+12135550101")).json["sid"]
    await texter.create(From="+12025550188", To="+12135550102")
    waiting = (await texter.create(From="+12025550188", To="+12135550101")).json["sid"]
    await eventually(lambda: texter.has_status(sent, "delivered"))
    today, tomorrow = datetime.now(UTC).date(), datetime.now(UTC).date() + timedelta(days=1)
    an_hour_ago = (datetime.now(UTC) - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")

    async def found(**query: str) -> list[str]:
        params = {"To": "+12135550101"} | {name.replace("_before", "<").replace("_after", ">"): value for name, value in query.items()}
        answer = await texter.call("GET", texter.messages_path, params=params)
        assert answer.status == 200
        return [message["sid"] for message in answer.json["messages"]]

    assert await found() == [waiting, sent]
    assert await found(From=SENDER) == [sent]
    assert await found(DateSent=str(today)) == [sent]
    assert await found(DateSent=str(tomorrow)) == []
    assert await found(DateSent_before=str(today)) == [sent]
    assert await found(DateSent_after=an_hour_ago) == [sent]
    assert await found(DateSent_before=an_hour_ago) == []
    assert await found(DateSent_after=str(tomorrow)) == []
    refused = await texter.call("GET", texter.messages_path, params={"DateSent": "someday"})
    assert refused.status == 400


async def test_the_official_client_reads_all_of_it(twilio: TwilioSandbox, texter: Texter) -> None:
    def through_the_client() -> tuple[list[str | None], str, bool]:
        client = Client(texter.account, texter.token)
        client.api.base_url = twilio.url
        try:
            made = [client.messages.create(to=PERSON, from_=SENDER, body=f"text {n}") for n in range(3)]
            listed = list(client.messages.stream(to=PERSON, date_sent_after=None, page_size=2))
            fetched = client.messages(made[0].sid or "").fetch()
            while fetched.status != "delivered":
                fetched = client.messages(made[0].sid or "").fetch()
            assert fetched.date_sent is not None
            assert fetched.date_sent.tzinfo is not None
            fetched.update(body="")
            return [message.sid for message in listed[::-1]], str(made[0].status), fetched.delete()
        finally:
            client.http_client.session.close()

    listed, status, deleted = await asyncio.to_thread(through_the_client)
    assert len(set(listed)) == 3
    assert (status, deleted) == ("queued", True)
    assert [message.sid for message in twilio.box] == listed[1:]
