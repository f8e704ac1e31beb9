"""Teaches a tenant what Twilio's answers teach, and looks at what it learned."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import text

from messaging.faults import fault
from runtime.database import Database
from tests.dispatch.desk import Desk

GRANTED = 13_500
HOUR = 3600.0
TEACH = text("""
SELECT taught, held_until - app.now() AS held_for
FROM app.teach_v1(:tenant, :registration, :sender, :code, :action, app.now() - make_interval(secs => :ago), :seconds)
""")


@dataclass
class School:
    """Teaches one tenant as the application's role, and looks at what it learned as the owner."""

    database: Database
    desk: Desk

    async def teach(self, code: int, *, ago: float = 0.0, seconds: float | None = None) -> tuple[str | None, float | None]:
        """What a code taught of a text that left `ago` seconds before, and for how many seconds nothing leaves now."""
        async with self.database.tenant_scope(self.desk.tenant) as connection:
            row = (
                await connection.execute(TEACH, {**self.whose, "code": code, "action": fault(code).action, "ago": ago, "seconds": seconds})
            ).one()
        return row.taught, row.held_for and row.held_for.total_seconds()

    @property
    def whose(self) -> dict[str, Any]:
        return {"tenant": self.desk.tenant, "registration": self.desk.registration, "sender": self.desk.sender}

    async def ask(self, sql: str, **values: Any) -> Any:
        async with self.database.tenant_scope(self.desk.tenant) as connection:
            return (await connection.execute(text(sql), values)).scalar()

    async def rate(self, granted: int = GRANTED) -> int:
        found: int = await self.ask("SELECT app.rate_now_v1(:t, :r, :g)", t=self.desk.tenant, r=self.desk.registration, g=granted)
        return found

    async def at_once(self) -> int | None:
        found: int | None = await self.ask("SELECT app.at_once_v1(:t, :a)", t=self.desk.tenant, a=self.desk.account)
        return found

    async def pass_time(self, seconds: float) -> None:
        """As if everything that was learned, and the sender, were older."""
        for table, columns in AGED.items():
            moved = ", ".join(f"{column} = {column} - make_interval(secs => $2)" for column in columns)
            await self.desk.owner.execute(f"UPDATE {table} SET {moved} WHERE tenant_id = $1", self.desk.tenant, seconds)

    async def hold(self) -> dict[str, Any]:
        """The registration's row of registration_holds; empty where it has none."""
        sql = "SELECT *, held_until - learned_at AS span FROM registration_holds WHERE tenant_id = $1 AND registration_id = $2"
        return dict(await self.desk.owner.fetchrow(sql, self.desk.tenant, self.desk.registration) or {})

    async def learned(self) -> int:
        """How many rows it has in all."""
        counted = " + ".join(f"(SELECT count(*) FROM {table} WHERE tenant_id = $1)" for table in LESSONS)
        found: int = await self.desk.owner.fetchval(f"SELECT {counted}", self.desk.tenant)
        return found


LESSONS = ("learned_rates", "learned_concurrency", "registration_holds")
AGED = {
    "learned_rates": ["lowered_at"],
    "learned_concurrency": ["lowered_at"],
    "registration_holds": ["learned_at", "held_until"],
    "senders": ["updated_at"],
}
