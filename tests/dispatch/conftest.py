"""A tenant that texts, a sandbox that takes the texts, workers to order: everything real, over sockets."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from uuid import UUID, uuid4

import asyncpg
import pytest
from aiohttp import web

from messaging.beginnings import Beginnings
from messaging.callback_urls import check_callback_token
from messaging.dispatcher import Dispatcher, Measures
from messaging.pacer import Pacer
from messaging.putting_off import PuttingOff
from messaging.receipts import record_receipt
from messaging.reconcile import Reconciler, Rules
from messaging.recorder import OutcomeRecorder
from messaging.sending import Sending
from messaging.twilio_client import Twilio
from messaging.twilio_http import TwilioHttp
from runtime.crypto import Keyring, new_master_key
from runtime.database import Database
from runtime.ids import TenantId
from sandbox import serving
from sandbox.twilio import TwilioSandbox
from tenants.senders import SenderBook
from tenants.snapshot import TenantBook
from tests.dispatch.desk import BRISK, Desk, MakeDesk, MakeDispatcher
from tests.dispatch.night import NOW, REAL
from tests.dispatch.school import School
from tests.dispatch.valkey import Valkey

CALL_SECONDS = 2.0


@pytest.fixture(scope="session")
def master_key() -> str:
    return new_master_key("test1")


@pytest.fixture(scope="session")
def keyring(master_key: str) -> Keyring:
    return Keyring.parse(master_key)


@pytest.fixture(autouse=True)
async def quiet_schedule(owner: "asyncpg.Connection[asyncpg.Record]") -> None:
    """What other tests left waiting does not leave in this one."""
    await owner.execute("DELETE FROM control.arrivals; DELETE FROM control.schedule; DELETE FROM control.duties")


@pytest.fixture
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """A server of the test's own."""
    server = Valkey(tmp_path_factory.mktemp("v"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def twilio() -> AsyncIterator[TwilioSandbox]:
    async with TwilioSandbox.running() as sandbox:
        yield sandbox


@pytest.fixture
def make_desk(owner: "asyncpg.Connection[asyncpg.Record]", keyring: Keyring) -> MakeDesk:
    async def make(per_minute: int = 13_500, tier: str = "standard_75_100") -> Desk:
        tenant, registration, sender, account = TenantId(uuid4()), uuid4(), uuid4(), f"AC{uuid4().hex}"
        slug, number = f"desk-{tenant.hex[:12]}", "+15005550006"
        await owner.execute(
            "INSERT INTO control.tenants (id, slug, name, timezone, plan) VALUES ($1, $2, 'Desk', 'UTC', 'standard')", tenant, slug
        )
        await owner.execute(
            "INSERT INTO registrations (tenant_id, id, tier, tier_source, segments_per_minute) VALUES ($1, $2, $3, 'tenant', $4)",
            tenant, registration, tier, per_minute,
        )  # fmt: skip
        await owner.execute(
            "INSERT INTO senders (tenant_id, id, registration_id, account_sid, auth_token_sealed, from_number, is_default)"
            " VALUES ($1, $2, $3, $4, $5, $6, true)",
            tenant, sender, registration, account, keyring.seal("token of a desk", tenant, "senders.auth_token"), number,
        )  # fmt: skip
        return Desk(owner, tenant, slug, registration, sender, account, number)

    return make


@pytest.fixture
async def desk(make_desk: MakeDesk) -> Desk:
    return await make_desk()


@pytest.fixture
async def neighbour(make_desk: MakeDesk) -> Desk:
    return await make_desk()


@pytest.fixture
async def school(database: Database, desk: Desk) -> School:
    return School(database, desk)


@pytest.fixture
async def next_door(database: Database, neighbour: Desk) -> School:
    return School(database, neighbour)


@pytest.fixture
async def still(desk: Desk, neighbour: Desk, owner: "asyncpg.Connection[asyncpg.Record]") -> AsyncIterator[None]:  # noqa: ARG001  made before it
    """The database's clock stands still, so that no test depends on how long it took."""
    moment = await owner.fetchval("SELECT app.now()")
    await owner.execute(NOW.format(f"'{moment.isoformat()}'::timestamptz"))
    yield
    await owner.execute(NOW.format(REAL))


@pytest.fixture
async def callbacks(database: Database, keyring: Keyring) -> AsyncIterator[str]:
    """Receives status callbacks as the API will: token, then the receipt, in the tenant's scope. Gives the public base URL."""

    async def receive(request: web.Request) -> web.Response:
        snapshot = await TenantBook(database).by_slug(request.match_info["slug"])
        message = UUID(request.match_info["message"])
        if snapshot is None or not check_callback_token(keyring, snapshot.id, message, request.query.get("s", "")):
            return web.Response(status=403)
        form = {name: str(value) for name, value in (await request.post()).items()}
        async with database.tenant_scope(snapshot.id) as connection:
            await record_receipt(connection, snapshot.id, message, form)
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/twilio/{slug}/status/{message}", receive)
    async with serving.running(app) as url:
        yield url


@pytest.fixture
async def make_dispatcher(database: Database, redis_url: str, twilio: TwilioSandbox, keyring: Keyring) -> AsyncIterator[MakeDispatcher]:
    """Dispatchers of workers of their own; `public` is where callbacks go."""
    async with AsyncExitStack() as stack:

        async def make(*, public: str = "", measures: Measures = BRISK, redis: str = "", first_look: float = 0.1) -> Dispatcher:
            pacer, worker = Pacer.at(redis or redis_url, quarantine=1.0 if redis else 0.0), uuid4()
            stack.push_async_callback(pacer.close)
            http = await stack.enter_async_context(TwilioHttp(twilio.url, total=CALL_SECONDS))
            sending = Sending(
                Twilio(http),
                pacer,
                OutcomeRecorder(database, worker),
                Beginnings(database, worker),
                keyring,
                public,
                PuttingOff(database, TenantBook(database), worker),
                call_seconds=CALL_SECONDS,
                first_look=first_look,
            )
            return Dispatcher(database, pacer, sending, worker, measures)

        yield make


@pytest.fixture
async def make_reconciler(database: Database, twilio: TwilioSandbox, keyring: Keyring) -> AsyncIterator[Callable[..., Reconciler]]:
    """Reconcilers that wait no longer than a test can."""
    async with TwilioHttp(twilio.url, total=CALL_SECONDS) as http:

        def make(**rules: float) -> Reconciler:
            patience = Rules(**{"every": 0.05, "claim": 1.0, "check": 0.1, "second_look": 0.3, "retry": 0.2, **rules})  # type: ignore[arg-type]
            return Reconciler(database, Twilio(http), SenderBook(database, keyring), TenantBook(database), patience)

        yield make
