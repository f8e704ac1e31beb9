"""The dispatcher against a model: whatever Twilio answers, whoever dies, whatever is forgotten, reported or cancelled meanwhile.

A scenario is drawn, played with real servers and the sandbox Twilio, and compared after each step with what may be; at the end
time passes until nothing is open, and then every text must have the end that its creates and callbacks lead to. Texts with the same
words for one person are counted together: which of them a listed text is nobody can know.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from redis.asyncio import Redis

from messaging import dispatcher
from messaging.dispatcher import Dispatcher
from messaging.outbox import cancel_message
from messaging.reconcile import Reconciler
from runtime.database import Database
from runtime.refusals import Conflict
from sandbox.twilio import TwilioSandbox
from sandbox.twilio.accounts import Declaration
from sandbox.twilio.faults import Match, Status
from sandbox.twilio.messages import Message
from tests.dispatch.desk import Desk, MakeDesk, MakeDispatcher
from tests.dispatch.night import NOW, REAL
from tests.dispatch.scenarios import REFUSALS, Accept, Script, Step, scenarios

Owner = asyncpg.Connection
EXAMPLES = int(os.environ.get("EXAMPLES", "60"))
WAITS = frozenset({20429, 21611})  # proved not sent: it leaves later
OPEN = frozenset({"scheduled", "queued", "sending", "unknown", "held"})
PATIENCE = 20  # turns of 65 s in which everything has to come to an end
MESSAGING = Path(dispatcher.__file__).parent
DAY_SECONDS = 86_400.0  # Twilio's clock does not travel with ours: what it lists is not asked for by time
WORDS = {1: "Your table is booked.", 2: "Your table is booked, and here is all that you have to know about it. " * 4}


@dataclass
class Group:
    """Texts with the same words for one person; most often one."""

    desk: Desk
    to: str
    kind: str
    segments: int
    ids: list[UUID] = field(default_factory=list)
    told: list[str] = field(default_factory=list)  # by callbacks, in order
    creates_at_stop: int | None = None


@dataclass
class World:
    """Two tenants, a Twilio under control, workers that come and go, and what is known of it all."""

    owner: Owner
    database: Database
    redis_url: str
    twilio: TwilioSandbox
    script: Script
    desks: Sequence[Desk]
    new_worker: Callable[[], Awaitable[Dispatcher]]
    reconciler: Reconciler
    session: aiohttp.ClientSession
    workers: list[Dispatcher]
    groups: list[Group] = field(default_factory=list)
    seconds: int = 0
    deaths: int = 0

    async def play(self, step: Accept | Step) -> None:
        """Let it happen."""
        if isinstance(step, Accept):
            number = len(self.groups)
            group = Group(self.desks[step.desk], f"+1213555{100 + number:04d}", step.kind, step.segments)
            self.groups.append(group)
            await self.text(group)
            for word in step.answers:
                self.script.say(group.desk.account, group.to, word)
            return
        match step.name:
            case "pass":
                await self.passes(int(step.value))
            case "dispatch":
                await self.dispatch(step.value)
            case "look":
                await self.reconciler.look_once()
            case "callback":
                await self.callback(step.which, step.value)
            case "twin" | "cancel" | "stop":
                await getattr(self, step.name)(self.groups[step.which % len(self.groups)])
            case other:
                await self.trouble(other, step.which)

    async def trouble(self, name: str, which: int) -> None:
        """What befalls everybody."""
        match name:
            case "flush":
                async with Redis.from_url(self.redis_url) as redis:
                    await redis.flushall()
            case "replace":
                self.workers[:2] = [await self.new_worker(), await self.new_worker()]
            case "deaf":  # the next time that a desk's list is asked for, it is not given
                account = self.desks[which % len(self.desks)].account
                self.script.arm(Status(status=503, match=Match(operation="list", account=account), times=1))

    async def text(self, group: Group) -> None:
        body = WORDS[group.segments]
        group.ids.append(await group.desk.text(to=group.to, body=body, kind=group.kind, segments=group.segments))

    async def twin(self, group: Group) -> None:
        """The same words for the same person once more, and meant."""
        if group.creates_at_stop is None:
            await self.text(group)

    async def dispatch(self, how: str = "alone") -> None:
        """What is due leaves; when a worker dies on the way its whole process does, and another one takes its place."""
        if len(self.workers) < 2:
            self.workers += [await self.new_worker() for _ in range(2 - len(self.workers))]
        before, killed = asyncio.all_tasks(), set[asyncio.Task[Any]]()

        def kill() -> None:
            killed.update(task for task in asyncio.all_tasks() - before if is_ours(task))
            assert killed, "nobody was there to die"
            for task in killed:
                task.cancel()

        self.script.kill = kill
        first, second = self.workers[:2]
        work: list[Awaitable[Any]] = [first.dispatch_once()]
        work += [second.dispatch_once()] if how == "in pairs" else []
        work += [self.reconciler.look_once()] if how == "with a look" else []
        results = await asyncio.gather(*map(asyncio.ensure_future, work), return_exceptions=True)
        if killed:
            await asyncio.wait(killed)
            del self.workers[:2]
            self.deaths += 1
        for result in results:
            if isinstance(result, BaseException) and not (killed and isinstance(result, asyncio.CancelledError)):
                raise result

    async def passes(self, seconds: int) -> None:
        self.seconds += seconds
        await self.owner.execute(NOW.format(f"{REAL} + interval '{self.seconds} s'"))

    async def callback(self, which: int, status: str) -> None:
        """Twilio tells something of a text that it took: in any order, as often as drawn, or never."""
        texts = self.taken()
        if not texts:
            return
        text = texts[which % len(texts)]
        form = {"MessageSid": text.sid, "MessageStatus": status, "AccountSid": text.account_sid}
        form |= {"ErrorCode": "30006"} if status == "undelivered" else {}
        async with self.session.post(text.callback_url or "", data=form) as answer:
            assert answer.status == 204
        self.group_of(text).told.append(status)

    async def cancel(self, group: Group) -> None:
        """Its tenant no longer wants it sent; too late, if it has begun to leave."""
        with suppress(Conflict):
            async with self.database.tenant_scope(group.desk.tenant) as connection:
                await cancel_message(connection, group.desk.tenant, group.ids[-1])

    async def stop(self, group: Group) -> None:
        """This person wants no more texts; whatever is waiting must not leave."""
        await self.owner.execute(
            "INSERT INTO opt_outs (tenant_id, recipient, source) VALUES ($1, $2, 'api') ON CONFLICT DO NOTHING", group.desk.tenant, group.to
        )
        if group.creates_at_stop is None:
            group.creates_at_stop = len(self.creates(group))

    # -- what is seen --------------------------------------------------------------------------------------------------

    def taken(self) -> list[Message]:
        """What Twilio took of these desks, oldest first."""
        accounts = {desk.account for desk in self.desks}
        return [text for text in self.twilio.box if text.account_sid in accounts]

    def group_of(self, text: Message) -> Group:
        """Whose text it is, by the address that it calls back; it must be that tenant's, person's and words."""
        message = UUID((text.callback_url or "").partition("?")[0].rpartition("/")[2])
        group = next(group for group in self.groups if message in group.ids)
        assert (text.account_sid, text.to, text.body) == (group.desk.account, group.to, WORDS[group.segments])
        return group

    def creates(self, group: Group) -> list[dict[str, Any]]:
        """Every create that Twilio got for it."""
        return [each for each in self.twilio.attempts if (each["account"], each["to"]) == (group.desk.account, group.to)]

    async def rows(self, group: Group) -> list[dict[str, Any]]:
        return [await group.desk.message(message) for message in group.ids]

    # -- what must be --------------------------------------------------------------------------------------------------

    async def check(self) -> None:
        """What holds at any time: nothing twice, nothing after a stop, nothing billed that was not taken, nobody's text elsewhere."""
        taken = Counter(id(self.group_of(text)) for text in self.taken())
        for group in self.groups:
            creates = self.creates(group)
            assert taken[id(group)] <= len(group.ids), f"twice at Twilio: {story(group, await self.rows(group), creates)}"
            assert group.creates_at_stop in (None, len(creates)), f"created after the stop: {story(group, [], creates)}"
            self.check_creates(group, creates)
        for desk in self.desks:
            assert await desk.billed() <= sum(text.segments for text in self.taken() if text.account_sid == desk.account)

    def check_creates(self, group: Group, creates: list[dict[str, Any]]) -> None:
        """A create follows only one that was proved not to be taken, or, once, two looks in which it was not listed."""
        most = (1 if group.kind == "marketing" else 2) * len(group.ids)
        assert sum(map(unclear, creates)) <= most, f"repeated in doubt too often: {story(group, [], creates)}"
        if len(group.ids) > 1:
            return
        requests = [
            (operation, works) for operation, account, to, works in self.script.log if (account, to) == (group.desk.account, group.to)
        ]
        places = [place for place, (operation, _) in enumerate(requests) if operation == "create"]
        for number, create in enumerate(creates[:-1]):
            looks = [works for operation, works in requests[places[number] : places[number + 1]] if operation == "list"]
            assert create["code"] in WAITS or sum(looks) >= 2, f"repeated blindly: {story(group, [], creates)}, {requests}"

    async def check_end(self) -> None:
        """What holds once nothing is open: each has the end that its creates and callbacks lead to, and all that was taken is billed."""
        for group in self.groups:
            taken = [text for text in self.taken() if self.group_of(text) is group]
            rows, creates = await self.rows(group), self.creates(group)
            left = [row for row in rows if row["twilio_sid"] is not None]
            assert sorted(row["twilio_sid"] for row in left) == sorted(text.sid for text in taken), story(group, rows, creates)
            for row in rows:
                allowed = ends(group, row, creates, self.deaths)
                assert row["status"] in allowed, f"not {allowed}: {story(group, rows, creates)}"
        for desk in self.desks:
            assert await desk.billed() == sum(text.segments for text in self.taken() if text.account_sid == desk.account)

    async def settle(self) -> None:
        """Time passes until nothing is open."""
        for _ in range(PATIENCE):
            if not {row["status"] for group in self.groups for row in await self.rows(group)} & OPEN:
                return
            await self.passes(65)
            await self.dispatch()
            await self.reconciler.look_once()
            await self.check()
        raise AssertionError(
            "\n".join([f"never settled: {story(group, await self.rows(group), self.creates(group))}" for group in self.groups])
        )


def story(group: Group, rows: list[dict[str, Any]], creates: list[dict[str, Any]]) -> str:
    """A group's life, for whoever has to find out what went wrong."""
    kept = ("status", "attempt", "due_at", "look_at", "looks", "resent", "error_code", "error_class", "twilio_sid", "twilio_status")
    stored = [{name: str(row[name]) for name in kept} for row in rows]
    return f"{group.kind} to {group.to}, told {group.told}, creates at stop {group.creates_at_stop}: {stored}; creates: {creates}"


def ends(group: Group, row: dict[str, Any], creates: list[dict[str, Any]], deaths: int) -> set[str]:
    """The statuses that a message may end with, when so many workers died."""
    if row["twilio_sid"] is not None:
        final = next((told for told in group.told if told != "sent"), "sent")
        return {final} if len(group.ids) == 1 else {"sent", *group.told}
    refused = any(create["code"] in REFUSALS.values() and create["code"] not in WAITS for create in creates)
    doubts = sum(map(unclear, creates)) + deaths  # who had begun and died before the request left is in doubt, too
    given_up = row["error_class"] == "ambiguous" and doubts >= (1 if group.kind == "marketing" else 2)
    stopped = row["error_class"] == "opt_out" and (refused or group.creates_at_stop is not None)
    may = {"canceled"} if row["status"] == "canceled" else set[str]()
    return may | ({"failed"} if given_up or stopped or refused else set())


def unclear(create: dict[str, Any]) -> bool:
    """Whether its caller could not know that it was refused."""
    status = create["status"]
    return status is None or status >= 500 or (status < 300 and create["sid"] is None)


def is_ours(task: "asyncio.Task[Any]") -> bool:
    """Whether a task runs code of the worker: those of servers and of the drivers, which clean up behind it, go on."""
    code = getattr(task.get_coro(), "cr_code", None)
    return code is not None and Path(code.co_filename).parent == MESSAGING


@pytest.fixture
async def home(owner: Owner) -> Any:
    """The clock is the real one again."""
    yield
    await owner.execute(NOW.format(REAL))


@pytest.fixture
def crew() -> list[Dispatcher]:
    """Workers that are alive; a scenario begins with whoever survived the one before."""
    return []


@pytest.mark.usefixtures("home")
@settings(max_examples=EXAMPLES, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(scenario=scenarios)
async def test_every_text_has_the_end_that_its_story_leads_to(
    scenario: list[Accept | Step],
    owner: Owner,
    database: Database,
    redis_url: str,
    twilio: TwilioSandbox,
    callbacks: str,
    make_desk: MakeDesk,
    make_dispatcher: MakeDispatcher,
    make_reconciler: Callable[..., Reconciler],
    crew: list[Dispatcher],
) -> None:
    await owner.execute(NOW.format(REAL))
    twilio.forget()
    desks = [await make_desk() for _ in range(2)]
    for desk in desks:  # callbacks come when the scenario says so
        twilio.accounts.declare(Declaration(sid=desk.account, sent_after=3600.0))
        await owner.execute("INSERT INTO control.switches (name, tenant_id, mode) VALUES ('quiet_hours', $1, 'off')", desk.tenant)
    twilio.faults = script = Script()
    async with aiohttp.ClientSession() as session:
        world = World(
            owner,
            database,
            redis_url,
            twilio,
            script,
            desks,
            lambda: make_dispatcher(public=callbacks),
            make_reconciler(margin=DAY_SECONDS),
            session,
            crew,
        )
        for step in scenario:
            await world.play(step)
            await world.check()
        await world.settle()
        await world.check_end()
