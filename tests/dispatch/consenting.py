"""People who text STOP and START to a tenant's senders, and what has to follow, told apart from how it is stored."""

from collections import defaultdict
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from messaging import consent, opt_outs
from messaging.consent import Consent
from messaging.receipts import record_inbound
from runtime.database import Database
from runtime.ids import uuid7
from tests.dispatch.desk import Desk

ANNA, BEN = "+12025550101", "+12025550102"
SERVICE = "MG" + "0" * 32
SECOND = "+19075550199"
FIRST_NUMBER, SECOND_NUMBER, POOL = 0, 1, 2  # a tenant's senders, in the order of Office.senders
NOWHERE = None  # a number that is no sender's


@dataclass
class Office:
    """A desk with three senders: two numbers and a pool. `entries`: who may not be texted, by which (None: any), and who said so."""

    desk: Desk
    database: Database
    senders: list[UUID]
    covers: str = "tenant"
    entries: dict[tuple[str, int | None], str] = field(default_factory=dict)
    texts: dict[UUID, tuple[str, int]] = field(default_factory=dict)

    @classmethod
    async def of(cls, desk: Desk, database: Database) -> "Office":
        """Give a desk its other senders."""
        added = []
        for number, service in ((SECOND, None), (None, SERVICE)):
            added.append(uuid4())
            await desk.owner.execute(
                "INSERT INTO senders (tenant_id, id, registration_id, account_sid, auth_token_sealed, from_number, messaging_service_sid)"
                " SELECT tenant_id, $2, registration_id, account_sid, auth_token_sealed, $3, $4"
                " FROM senders WHERE tenant_id = $1 AND id = $5",
                desk.tenant, added[-1], number, service, desk.sender,
            )  # fmt: skip
        return cls(desk, database, [desk.sender, *added])

    async def hears(self, word: str, person: str, sender: int | None, sid: str | None = None, **more: str) -> str:
        """An inbound text to one of the senders, as Twilio posts it."""
        to = {FIRST_NUMBER: self.desk.number, SECOND_NUMBER: SECOND, POOL: "+19075550177", NOWHERE: "+19075550100"}[sender]
        service = {"MessagingServiceSid": SERVICE} if sender == POOL else {}
        form = {"MessageSid": sid or uuid4().hex, "From": person, "To": to, "AccountSid": self.desk.account, "Body": word}
        async with self.database.tenant_scope(self.desk.tenant) as connection:
            said = await record_inbound(connection, self.desk.tenant, {**form, **service, **more})
        if said == "stop":
            self._add(person, None if self.covers == "tenant" else sender, "person")
        elif said == "start":
            self._lift(person, sender)
            if self.covers == "tenant" or sender is NOWHERE:
                self._lift(person, None)
        return said

    async def covers_now(self, covers: str) -> None:
        """The tenant's own setting."""
        async with self.database.tenant_scope(self.desk.tenant) as connection:
            await consent.change(connection, self.desk.tenant, "key:test", Consent(covers))  # type: ignore[arg-type]  # one of two
        if (self.covers, covers) == ("sender", "tenant"):
            for (person, _), who in list(self.entries.items()):
                self._add(person, None, who)
        self.covers = covers

    async def lists(self, person: str, sender: int | None) -> None:
        """The tenant's own list, through its API."""
        async with self.database.tenant_scope(self.desk.tenant) as connection:
            await opt_outs.put(connection, self.desk.tenant, person, None if sender is None else self.senders[sender])
        self._add(person, sender, "tenant")

    async def texted(self, person: str, sender: int) -> UUID:
        """A text that waits."""
        message = await self.desk.text(to=person, body=f"See you at {uuid7()}.")
        change = "UPDATE messages SET sender_id = $3 WHERE tenant_id = $1 AND id = $2"
        await self.desk.owner.execute(change, self.desk.tenant, message, self.senders[sender])
        self.texts[message] = (person, sender)
        return message

    def may_leave(self, person: str, sender: int) -> bool:
        """Whether nobody's word stands against it."""
        return not {(person, None), (person, sender)} & self.entries.keys()

    async def stored(self) -> tuple[set[str], set[tuple[str, int]]]:
        """The two tables: whom nobody may text, and whom one sender may not."""
        owner, tenant = self.desk.owner, self.desk.tenant
        wide = {row[0] for row in await owner.fetch("SELECT recipient FROM opt_outs WHERE tenant_id = $1", tenant)}
        rows = await owner.fetch("SELECT recipient, sender_id FROM sender_opt_outs WHERE tenant_id = $1", tenant)
        return wide, {(row[0], self.senders.index(row[1])) for row in rows}

    def expected(self) -> tuple[set[str], set[tuple[str, int]]]:
        """What should be stored."""
        narrow = {(person, sender) for person, sender in self.entries if sender is not None}
        return {person for person, sender in self.entries if sender is None}, narrow

    def _add(self, person: str, sender: int | None, who: str) -> None:
        self.entries[person, sender] = who if who == "tenant" else self.entries.get((person, sender), who)

    def _lift(self, person: str, sender: int | None) -> None:
        if self.entries.get((person, sender)) == "person":
            del self.entries[person, sender]


@dataclass
class LastWords:
    """What the law asks, by history alone: the last word that a person sent to where a sender belongs."""

    said: dict[tuple[str, int], str] = field(default_factory=lambda: defaultdict(lambda: "nothing"))

    def note(self, word: str, person: str, sender: int | None, covers: str) -> None:
        """A word holds for the sender it was sent to; a STOP for all where it covers the tenant."""
        every = sender is None or covers == "tenant"
        for each in (FIRST_NUMBER, SECOND_NUMBER, POOL):
            if every or each == sender:
                self.said[person, each] = word
