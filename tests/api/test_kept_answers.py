"""The store of kept answers, where a race is too narrow for calls over HTTP to hit it every time."""

from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from api.wiring import Wiring
from runtime.ids import TenantId
from tests.api.people import Tenant
from webhooks import kept_answers
from webhooks.kept_answers import Answer, Request
from webhooks.keys import digest


async def test_whoever_is_overtaken_between_its_look_and_its_lock_finds_the_answer(tenant: Tenant, wiring: Wiring) -> None:
    request = Request(TenantId(UUID(tenant.id)), digest("key"), digest("what is asked"), "POST /v1/assistants")
    answer = Answer(201, (("content-type", "application/json"),), b'{"n":1}')

    async def overtake() -> None:
        async with wiring.database.tenant_scope(request.tenant) as connection:
            assert await kept_answers.claim(connection, wiring.keyring, request) is None
            await kept_answers.keep(connection, wiring.keyring, request, answer)

    class Slow:
        """A connection whose lock comes late."""

        def __init__(self, connection: AsyncConnection) -> None:
            self.connection = connection

        async def execute(self, statement: Any, *values: Any) -> Any:
            if statement is kept_answers.TAKE:
                await overtake()
            return await self.connection.execute(statement, *values)

    async with wiring.database.tenant_scope(request.tenant) as connection:
        assert await kept_answers.claim(Slow(connection), wiring.keyring, request) == answer  # type: ignore[arg-type]  # what it uses
