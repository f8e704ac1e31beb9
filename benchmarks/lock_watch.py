"""Who waits for a lock, how long, and for whom, looked at every few milliseconds from beside."""

import asyncio
from dataclasses import dataclass, field
from typing import Any, Self

import asyncpg

LOOK_SECONDS = 0.01
WAITING = """
SELECT l.pid, l.locktype, a.usename = $1 AND a.query LIKE '%app.accept%' AS is_ingest,
       extract(epoch FROM clock_timestamp() - l.waitstart)::float8 AS seconds, left(a.query, 60) AS query
FROM pg_locks AS l JOIN pg_stat_activity AS a ON a.pid = l.pid WHERE NOT l.granted AND l.waitstart IS NOT NULL"""


@dataclass
class LockWatch:
    """The longest waits seen, in seconds: of ingest, and of anybody; and how many looks saw one."""

    url: str
    app_role: str = "trunkline_app"
    longest_ingest: float = 0.0
    longest: float = 0.0
    waits: set[tuple[int, str]] = field(default_factory=set)
    looks: int = 0
    _task: "asyncio.Task[None] | None" = None

    async def __aenter__(self) -> Self:
        connection = await asyncpg.connect(self.url)
        self._task = asyncio.create_task(self._look(connection))
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _look(self, connection: Any) -> None:
        try:
            while True:
                for row in await connection.fetch(WAITING, self.app_role):
                    self.longest = max(self.longest, row["seconds"])
                    self.waits.add((row["pid"], row["query"]))
                    if row["is_ingest"]:
                        self.longest_ingest = max(self.longest_ingest, row["seconds"])
                self.looks += 1
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            await connection.close()
