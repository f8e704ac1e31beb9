import asyncio

from tests.sandbox.parties import PERSON, SENDER, SERVICE, Control, Texter, eventually


async def departures(control: Control) -> list[float]:
    return [message["left_at"] for message in await control.messages() if message["left_at"] is not None]


async def test_messages_leave_at_the_senders_rate(texter: Texter, control: Control) -> None:
    await control.declare(texter.account, segments_per_second=20)
    for body in ("one", "one", "x" * 320, "one", "one"):  # slots: 1, 1, 3, 1, 1
        await texter.create(Body=body)
    await eventually(lambda: all_left(control, 5))
    left = await departures(control)
    for moment, slot in zip(left, (0, 1, 2, 5, 6), strict=True):
        assert slot / 20 - 0.02 < moment - left[0] < slot / 20 + 0.25, left


async def test_senders_have_queues_of_their_own(texter: Texter, control: Control) -> None:
    await control.declare(texter.account, sender_rates={SENDER: 0.01})
    first, second = [(await texter.create()).json["sid"] for _ in range(2)]
    other = (await texter.create(From="+12025550177")).json["sid"]
    await eventually(lambda: texter.has_status(other, "delivered"))
    assert (await texter.fetch(first))["status"] == "delivered"
    assert (await texter.fetch(second))["status"] == "queued"


async def test_a_new_rate_counts_for_what_waits(texter: Texter, control: Control) -> None:
    await control.declare(texter.account, segments_per_second=0.01)
    sids = [(await texter.create()).json["sid"] for _ in range(4)]
    described = (await control.ask("GET", "/control/accounts")).json["accounts"]
    assert described[0]["waiting_segments"] == {SENDER: 3}
    await control.declare(texter.account, segments_per_second=None)
    await eventually(lambda: texter.has_status(sids[-1], "delivered"))


async def test_a_full_queue_refuses_a_plain_sender_at_once(texter: Texter, control: Control) -> None:
    await control.declare(texter.account, segments_per_second=0.5, queue_seconds=6)
    assert [(await texter.create()).status for _ in range(4)] == [201] * 4  # one left at once, three wait
    refused = await texter.create()
    assert (refused.status, refused.json["code"]) == (400, 21611)
    assert len(await control.messages()) == 4


async def test_a_full_queue_fails_later_behind_a_messaging_service(texter: Texter, control: Control) -> None:
    await control.declare(texter.account, segments_per_second=0.5, queue_seconds=2)
    answers = [await texter.create(MessagingServiceSid=SERVICE) for _ in range(3)]
    assert [answer.status for answer in answers] == [201] * 3
    last = answers[-1].json["sid"]
    await eventually(lambda: texter.has_status(last, "failed"))
    assert (await texter.fetch(last))["error_code"] == 30001


async def test_the_usual_queue_holds_ten_hours(texter: Texter, control: Control) -> None:
    await control.declare(texter.account, segments_per_second=1 / 3600)
    statuses = [(await texter.create()).status for _ in range(12)]
    assert statuses == [201] * 11 + [400]


async def test_what_waits_longer_than_its_validity_fails(texter: Texter, control: Control) -> None:
    await control.declare(texter.account, segments_per_second=0.8)
    await texter.create()
    stale = (await texter.create(ValidityPeriod="1")).json["sid"]
    await eventually(lambda: texter.has_status(stale, "failed"))
    assert (await texter.fetch(stale))["error_code"] == 30036


async def test_too_many_requests_in_flight_are_refused_and_not_taken(texter: Texter, control: Control) -> None:
    await control.declare(texter.account, concurrency=2)
    await control.arm("delay", seconds=0.3)
    answers = await asyncio.gather(*(texter.create() for _ in range(6)))
    assert sorted(answer.status for answer in answers) == [201, 201, 429, 429, 429, 429]
    refused = next(answer for answer in answers if answer.status == 429)
    assert refused.json["code"] == 20429
    assert int(refused.headers["twilio-concurrent-requests"]) == 3
    assert len(await control.messages(to=PERSON)) == 2
    attempts = (await control.ask("GET", "/control/attempts")).json["attempts"]
    assert [attempt["status"] for attempt in attempts] == [201, 201]
    assert (await texter.create()).status == 201


async def all_left(control: Control, count: int) -> bool:
    return len(await departures(control)) == count
