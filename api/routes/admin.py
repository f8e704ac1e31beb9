"""The operator's API: tenants, their keys, switches, plans, the audit trail."""

from typing import Annotated, Any, Literal
from uuid import UUID

from litestar import Controller, delete, get, patch, post, put
from litestar.datastructures import State
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import Meta

from api.callers import ADMIN
from api.pages import Cursor, Limit, Page, id_position, page
from api.routes.assistants import webhook_url
from api.routes.shapes import Body, moment
from api.wiring import wiring_of
from billing.subscriptions import change_plan, start_subscription
from runtime import clock
from runtime.ids import TenantId
from runtime.refusals import Invalid
from tenants import audit, keys, own_tiers, registry, switches
from tenants.registry import checked, checked_tier

Text = Annotated[str, Meta(max_length=200)]
Scope = Literal["read", "write"]


class NewTenant(Body):
    """A tenant to make."""

    slug: Annotated[str, Meta(description="In its webhook URL, for ever.", examples=["smile-dental"])]
    name: Annotated[str, Meta(examples=["Smile Dental"])]
    timezone: Annotated[str, Meta(description="A name of the IANA time zone database.", examples=["America/Los_Angeles"])]
    plan: Annotated[str, Meta(examples=["standard"])] = "standard"
    tier: str | None = None


class TenantChange(Body):
    """What can change about a tenant; a field that is absent stays, `null` clears tier and max_tier."""

    name: str | None = None
    timezone: str | None = None
    plan: str | None = None
    tier: str | None = None
    max_tier: str | None = None


class Reason(Body):
    """Why."""

    reason: Text = ""


class Nothing(Body):
    """An empty object."""


class Tenant(Body):
    """A tenant."""

    id: UUID
    slug: str
    name: str
    timezone: str
    plan: str
    status: str
    status_reason: str | None
    tier: str | None
    max_tier: str | None
    webhook_url: str
    created_at: str | None


class CreatedTenant(Tenant):
    """A new tenant with its first key, which is shown here only."""

    api_key: str


class NewKey(Body):
    """A key to make."""

    name: Text = "key"
    scopes: tuple[Scope, ...] = ("read", "write")


class Key(Body):
    """A key without what it is."""

    id: UUID
    name: str
    hint: str
    scopes: list[str]
    created_at: str | None
    revoked_at: str | None


class CreatedKey(Body):
    """A key at its only showing."""

    id: UUID
    api_key: str
    scopes: list[str]


class SwitchTurn(Body):
    """A switch to turn, for one tenant or, without `tenant_id`, for everybody."""

    name: Annotated[str, Meta(examples=["sending"])]
    mode: Annotated[str, Meta(examples=["hold"])]
    tenant_id: UUID | None = None


class Switch(Body):
    """A switch as it stands."""

    name: str
    tenant_id: UUID | None
    mode: str
    updated_at: str | None


class AuditEntry(Body):
    """Who changed what."""

    id: UUID
    at: str | None
    actor: str
    action: str
    tenant_id: UUID | None
    target: str | None
    detail: dict[str, Any]


class TenantAdmin(Controller):
    """`/v1/admin/tenants`."""

    path = "/v1/admin/tenants"
    tags = ("Admin",)

    @post(summary="Make a tenant", description="Answers with its webhook URL and its first API key, which is shown once.")
    async def create(self, data: JSONBody[NewTenant], state: State) -> CreatedTenant:
        """Make it, subscribe it to its plan, give it a key."""
        wiring, now = wiring_of(state), clock.now()
        for field in ("slug", "name", "timezone"):
            checked(field, getattr(data, field))
        async with wiring.database.unscoped() as connection:  # unscoped: a tenant is made in the schema control
            if data.tier is not None:
                checked_tier("tier", data.tier, await own_tiers.known_tiers(connection))
            tenant = await registry.create_tenant(connection, data.slug, data.name, data.timezone, data.plan, data.tier, ADMIN)
            await wiring.database.enter(connection, tenant)
            await start_subscription(connection, tenant, data.plan, data.timezone, now)
            key = await keys.create_key(connection, wiring.keyring, tenant, "first key", keys.SCOPES, ADMIN)
            row = await registry.tenant_row(connection, tenant)
        wiring.tenants.forget(data.slug)
        return CreatedTenant(**tenant_fields(row, webhook_url(wiring, data.slug)), api_key=key.key)

    @get(summary="List tenants")
    async def list(
        self, state: State, status: FromQuery[str | None] = None, limit: FromQuery[Limit] = 50, cursor: FromQuery[Cursor] = None
    ) -> Page[Tenant]:
        """The newest first."""
        wiring, before = wiring_of(state), id_position(cursor)
        async with wiring.database.unscoped() as connection:  # unscoped: the operator's list reads the schema control
            rows = await registry.list_tenants(connection, status, before, limit + 1)
        found, following = page(rows, limit)
        return Page([Tenant(**tenant_fields(row, webhook_url(wiring, row["slug"]))) for row in found], following)

    @get("/{tenant_id:uuid}", summary="One tenant")
    async def one(self, tenant_id: FromPath[UUID], state: State) -> Tenant:
        """As it stands."""
        return await shown_tenant(state, tenant_id)

    @patch(
        "/{tenant_id:uuid}",
        summary="Change a tenant",
        description="A new plan is in force from the next period on; max_tier holds at once, and lifting it gives back what was claimed.",
    )
    async def change(self, tenant_id: FromPath[UUID], data: JSONBody[dict[str, str | None]], state: State) -> Tenant:
        """Change what is given."""
        wiring = wiring_of(state)
        changes = checked_changes(data)
        async with wiring.database.unscoped() as connection:  # unscoped: a tenant stands in the schema control
            if changes:
                await registry.change_tenant(connection, tenant_id, ADMIN, **changes)
            if "tier" in changes or "max_tier" in changes:
                tiers = await own_tiers.held_tiers(connection, tenant_id)
                for field in ("tier", "max_tier"):
                    if (named := changes.get(field)) is not None:
                        checked_tier(field, named, tiers)
                await own_tiers.settle(connection, [tenant_id], ADMIN)
            await wiring.database.enter(connection, TenantId(tenant_id))
            if plan := changes.get("plan"):
                await change_plan(connection, TenantId(tenant_id), plan, clock.now())
        shown = await shown_tenant(state, tenant_id)
        wiring.tenants.forget(shown.slug)
        wiring.wake.publish()
        return shown

    @post(
        "/{tenant_id:uuid}/suspend",
        status_code=200,
        summary="Suspend a tenant",
        description="Tools answer with an error, texts wait; nothing is lost.",
    )
    async def suspend(self, tenant_id: FromPath[UUID], data: JSONBody[Reason], state: State) -> Tenant:
        """Stop serving it."""
        async with wiring_of(state).database.unscoped() as connection:  # unscoped: status and schedule stand in the schema control
            await registry.suspend(connection, tenant_id, data.reason, ADMIN)
        return await shown_tenant(state, tenant_id)

    @post("/{tenant_id:uuid}/resume", status_code=200, summary="Resume a tenant", description="What waited leaves.")
    async def resume(self, tenant_id: FromPath[UUID], data: JSONBody[Nothing], state: State) -> Tenant:  # noqa: ARG002  an object is taken and ignored
        """Serve it again."""
        wiring = wiring_of(state)
        async with wiring.database.unscoped() as connection:  # unscoped: status and schedule stand in the schema control
            await registry.resume(connection, tenant_id, ADMIN)
        wiring.wake.publish()
        return await shown_tenant(state, tenant_id)

    @post("/{tenant_id:uuid}/keys", summary="Make a key", description="It is shown once.")
    async def create_key(self, tenant_id: FromPath[UUID], data: JSONBody[NewKey], state: State) -> CreatedKey:
        """Make one more key for a tenant."""
        wiring = wiring_of(state)
        async with wiring.database.unscoped() as connection:  # unscoped: key hashes stand in the schema control
            await registry.tenant_row(connection, tenant_id)
            made = await keys.create_key(connection, wiring.keyring, TenantId(tenant_id), data.name, data.scopes, ADMIN)
        return CreatedKey(made.id, made.key, list(made.scopes))

    @get("/{tenant_id:uuid}/keys", summary="List keys")
    async def list_keys(self, tenant_id: FromPath[UUID], state: State) -> Page[Key]:
        """Without what they are."""
        async with wiring_of(state).database.unscoped() as connection:  # unscoped: key hashes stand in the schema control
            await registry.tenant_row(connection, tenant_id)
            rows = await keys.list_keys(connection, TenantId(tenant_id))
        return Page([Key(**{**row, "created_at": moment(row["created_at"]), "revoked_at": moment(row["revoked_at"])}) for row in rows])

    @delete("/{tenant_id:uuid}/keys/{key_id:uuid}", summary="Revoke a key", description="Every process follows within two seconds.")
    async def revoke_key(self, tenant_id: FromPath[UUID], key_id: FromPath[UUID], state: State) -> None:
        """End it."""
        async with wiring_of(state).database.unscoped() as connection:  # unscoped: key hashes stand in the schema control
            await keys.revoke_key(connection, TenantId(tenant_id), key_id, ADMIN)


class ControlAdmin(Controller):
    """Switches and the audit trail."""

    path = "/v1/admin"
    tags = ("Admin",)

    @get("/switches", summary="List switches")
    async def switches(self, state: State) -> Page[Switch]:
        """For everybody, then what differs for single tenants."""
        async with wiring_of(state).database.unscoped() as connection:  # unscoped: switches stand in the schema control
            rows = await switches.all_switches(connection)
        return Page([Switch(**{**row, "updated_at": moment(row["updated_at"])}) for row in rows])

    @put("/switches", summary="Turn a switch", description="Every process follows within two seconds.")
    async def turn(self, data: JSONBody[SwitchTurn], state: State) -> Switch:
        """Turn it for one tenant or for all."""
        wiring = wiring_of(state)
        async with wiring.database.unscoped() as connection:  # unscoped: switches stand in the schema control
            tenant = await registry.tenant_row(connection, data.tenant_id) if data.tenant_id is not None else None
            await switches.turn(connection, data.name, data.mode, data.tenant_id, ADMIN)
        if tenant is not None:
            wiring.tenants.forget(tenant["slug"])
        wiring.wake.publish()
        return Switch(data.name, data.tenant_id, data.mode, clock.rfc3339(clock.now()))

    @get("/audit", summary="The audit trail")
    async def audit(
        self, state: State, tenant_id: FromQuery[UUID | None] = None, limit: FromQuery[Limit] = 50, cursor: FromQuery[Cursor] = None
    ) -> Page[AuditEntry]:
        """The newest first."""
        before = id_position(cursor)
        async with wiring_of(state).database.unscoped() as connection:  # unscoped: the audit trail stands in the schema control
            rows = await audit.entries(connection, tenant_id, before, limit + 1)
        found, following = page(rows, limit)
        return Page([AuditEntry(**{**row, "at": moment(row["at"])}) for row in found], following)


def checked_changes(data: dict[str, str | None]) -> dict[str, str | None]:
    """The changes of a tenant that mean something.

    Raises:
        Invalid: an unknown field, or a value that a field does not take.
    """
    for field, value in data.items():
        if field not in TenantChange.__struct_fields__:
            raise Invalid.at(f"/{field}", f"This cannot be changed; what can is: {', '.join(TenantChange.__struct_fields__)}.")
        if value is None and field not in ("tier", "max_tier"):
            raise Invalid.at(f"/{field}", "This cannot be empty.")
        if value is not None and field not in ("plan", "tier", "max_tier"):  # these stand in the database
            checked(field, value)
    return data


async def shown_tenant(state: State, tenant_id: UUID) -> Tenant:
    """A tenant as the contract has it."""
    wiring = wiring_of(state)
    async with wiring.database.unscoped() as connection:  # unscoped: a tenant stands in the schema control
        row = await registry.tenant_row(connection, tenant_id)
    wiring.tenants.forget(row["slug"])
    return Tenant(**tenant_fields(row, webhook_url(wiring, row["slug"])))


def tenant_fields(row: dict[str, Any], url: str) -> dict[str, Any]:
    """The fields of a tenant."""
    kept = ("id", "slug", "name", "timezone", "plan", "status", "status_reason", "tier", "max_tier")
    return {**{name: row[name] for name in kept}, "webhook_url": url, "created_at": moment(row["created_at"])}
