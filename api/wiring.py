"""What the routes work with, opened once per process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

from litestar.datastructures import State
from redis.asyncio import Redis

from messaging import legal_hours
from messaging.pacer import Pacer
from messaging.wake import WakeHint
from runtime.crypto import Keyring
from runtime.database import Database, open_database
from runtime.redis import open_redis
from runtime.settings import Settings
from tenants.keys import KeyBook
from tenants.senders import SenderBook
from tenants.snapshot import Snapshot, TenantBook
from webhooks import bodies
from webhooks.activity import Activity
from webhooks.acts import Acts
from webhooks.answering import Answering
from webhooks.claims import Claims
from webhooks.duplicates import DuplicateCounter
from webhooks.gate import Gate
from webhooks.ingest import Ingest
from webhooks.own_tools import OwnTools
from webhooks.refusals import RefusalBook
from webhooks.replays import Replays
from webhooks.runs import Runs
from webhooks.tool_http import ToolHttp
from webhooks.tool_work import ToolWork
from webhooks.vapi_client import VapiClient
from webhooks.vapi_configuring import Configuring
from webhooks.vapi_setup import VapiSetup


@dataclass(frozen=True, slots=True)
class Wiring:
    """One process's parts."""

    settings: Settings
    keyring: Keyring
    database: Database
    redis: "Redis"
    tenants: TenantBook
    keys: KeyBook
    senders: SenderBook
    claims: Claims
    wake: WakeHint
    duplicates: DuplicateCounter
    activity: Activity
    pacer: Pacer
    refused: RefusalBook
    gate: Gate
    ingest: Ingest
    replays: Replays
    tool_http: ToolHttp
    vapi: VapiClient
    configuring: Configuring

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Until the process ends; then what was counted is flushed and every connection given back."""
        try:
            async with self.tool_http, self.vapi:
                yield
        finally:
            await self.wake.close()
            await self.duplicates.close()
            await self.activity.close()
            await self.refused.close()
            await self.pacer.close()
            await self.redis.aclose()
            await self.database.close()


async def wire(settings: Settings) -> Wiring:
    """Connect and put the parts together."""
    legal_hours.use(settings.quiet_hours_file)
    keyring = settings.keyring
    database = await open_database(settings.database_url, settings.database_connections)
    redis = open_redis(settings.redis_url)
    tenants, claims, wake, duplicates = TenantBook(database), Claims(database), WakeHint(redis), DuplicateCounter(redis)
    refused = RefusalBook(redis)
    tool_http, vapi = ToolHttp(keyring, settings.tool_hosts), VapiClient(settings.vapi_base_url)

    async def keep(tenant: Snapshot, webhook_id: UUID, body: bytes) -> None:
        await bodies.keep(database, tenant.id, webhook_id, tenant.bodies_days, body, tenant.privacy)

    runs, activity = Runs(database), Activity(database)
    tools = ToolWork(claims, Acts(database), OwnTools(runs, tool_http, claims), wake, duplicates)
    answering = Answering(runs, tool_http, tools)
    return Wiring(
        settings=settings,
        keyring=keyring,
        database=database,
        redis=redis,
        tenants=tenants,
        keys=KeyBook(database, keyring),
        senders=SenderBook(database, keyring),
        claims=claims,
        wake=wake,
        duplicates=duplicates,
        activity=activity,
        pacer=Pacer.at(settings.redis_url),
        ingest=Ingest(database, keyring, claims, tools, answering, activity, duplicates, keep),
        refused=refused,
        gate=Gate(keyring, tenants, refused),
        replays=Replays(database, keyring, claims, tools),
        tool_http=tool_http,
        vapi=vapi,
        configuring=Configuring(database, keyring, tenants, VapiSetup(vapi)),
    )


def wiring_of(state: State) -> Wiring:
    """The parts, from the application's state."""
    wiring: Wiring = state.wiring
    return wiring
