"""A debt outlives Redis: it stands in the schedule, too."""

from sandbox.twilio import TwilioSandbox
from tests.dispatch.desk import MakeDesk, MakeDispatcher, at_work, until
from tests.dispatch.test_worker import at_rest
from tests.dispatch.valkey import Valkey


async def test_after_redis_forgot_it_a_long_text_is_paid_off_before_the_next_one(
    make_desk: MakeDesk, make_dispatcher: MakeDispatcher, twilio: TwilioSandbox, valkey: Valkey
) -> None:
    slow, neighbour = await make_desk(per_minute=60), await make_desk(per_minute=60)
    await slow.text(body="long " * 100, segments=5)
    async with at_work(await make_dispatcher(redis=valkey.url)):
        await until(lambda: at_rest(slow, sent=1))
        valkey.stop()
        valkey.start()
        await slow.text(body="next")
        await neighbour.text(body="theirs")
        await until(lambda: at_rest(neighbour, sent=1), seconds=20)
        await until(lambda: at_rest(slow, sent=2), seconds=30)
    first, *_ = arrivals = [message.arrived_at for message in twilio.box if message.account_sid == slow.account]
    assert arrivals[-1] - first >= 5 - 0.1
    theirs = next(message.arrived_at for message in twilio.box if message.account_sid == neighbour.account)
    assert theirs < arrivals[-1], "who owes nothing waits for the quarantine alone"
