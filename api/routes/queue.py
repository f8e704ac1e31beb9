"""A tenant's queue: what waits in it, and how long it may become."""

from uuid import UUID

from litestar import Controller, get, put
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from api.callers import ADMIN, Caller
from api.routes.shapes import Body
from api.wiring import Wiring, wiring_of
from messaging.queue_statistics import queues_of, waiting_by_class
from runtime.ids import TenantId
from tenants import queue_bounds, registry
from tenants.waiting import QueueBounds


class Queue(Body):
    """What waits, texts for later included. `due` counts segments that may leave now, by class. `oldest_due` is null when nothing waits."""

    bounds: QueueBounds
    queued: int
    queued_segments: int
    sending: int
    due: dict[str, int]
    oldest_due: str | None
    held: str | None


class QueueRoutes(Controller):
    """`/v1/queue`."""

    path = "/v1/queue"
    tags = ("Messages",)

    @get(summary="What waits, and how much may wait")
    async def read(self, caller: NamedDependency[Caller], state: State) -> Queue:
        """As it is now."""
        return await shown(wiring_of(state), caller.tenant.id, caller.tenant.slug)


class QueueAdmin(Controller):
    """`/v1/admin/tenants/{tenant_id}/queue`."""

    path = "/v1/admin/tenants/{tenant_id:uuid}/queue"
    tags = ("Admin",)

    @get(summary="A tenant's queue and its bounds")
    async def read(self, tenant_id: FromPath[UUID], state: State) -> Queue:
        """As it is now."""
        wiring = wiring_of(state)
        async with wiring.database.unscoped() as connection:  # unscoped: a tenant stands in the schema control
            row = await registry.tenant_row(connection, tenant_id)
        return await shown(wiring, TenantId(tenant_id), row["slug"])

    @put(
        summary="Bound a tenant's queue",
        description="Beyond `most_messages` waiting, or when a text accepted now would wait over `most_seconds`, the next one is refused: "
        "429 by the API, a spoken sentence to a model. With `drop_oldest_marketing` the oldest marketing makes "
        "room instead, while there is some. "
        "A one-time code is refused by the wait alone.",
    )
    async def change(self, tenant_id: FromPath[UUID], data: JSONBody[QueueBounds], state: State) -> QueueBounds:
        """All of them at once; what waits already stays, or is dropped within seconds where the policy says so."""
        wiring = wiring_of(state)
        async with wiring.database.unscoped() as connection:  # unscoped: bounds stand in the schema control
            row = await registry.tenant_row(connection, tenant_id)
            await queue_bounds.change(connection, TenantId(tenant_id), ADMIN, data)
        wiring.tenants.forget(row["slug"])
        return data


async def shown(wiring: Wiring, tenant: TenantId, slug: str) -> Queue:
    """The bounds and the queue; a tenant that never queued has an empty one."""
    async with wiring.database.unscoped() as connection:  # unscoped: bounds stand in the schema control
        bounds = await queue_bounds.read(connection, tenant)
    found = await queues_of(wiring.database, {tenant: slug})
    due = await waiting_by_class(wiring.database, tenant)
    if not found:
        return Queue(bounds, 0, 0, 0, due, None, None)
    queue = found[0]
    return Queue(bounds, queue.queued, queue.queued_segments, queue.sending, due, queue.oldest_due, queue.held)
