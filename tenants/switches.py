"""Switches: controls the operator turns at run time, for all tenants or for one."""

from typing import Any
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime.refusals import Invalid
from tenants import audit
from tenants.tables import switches

PACING = "pacing"
MODES = {  # the default first, then farther and farther from it
    "sending": ("on", "hold"),
    "idempotency": ("enforce", "observe", "off"),
    "quiet_hours": ("enforce", "observe", "off"),
    PACING: ("enforce", "observe", "off"),
}
DEFAULTS = {name: modes[0] for name, modes in MODES.items()}
HELD = "sending held"

PUT = text("""
INSERT INTO control.switches (name, tenant_id, mode) VALUES (:name, :tenant, :mode)
ON CONFLICT (name, tenant_id) DO UPDATE SET mode = excluded.mode, updated_at = app.now()
""")
# a tenant's own row stands only while it is no default: of two modes the one farther from it holds, and a stop for all stops all
FORGET = text("DELETE FROM control.switches WHERE name = :name AND tenant_id = :tenant")
# rows in order of their key, as the dispatcher takes them; what another switch still holds stays held (app.hold_reason_v1)
HOLD = text("""
UPDATE control.schedule SET hold_reason = :reason WHERE (tenant_id, registration_id) IN (
  SELECT s.tenant_id, s.registration_id FROM control.schedule AS s
  WHERE s.hold_reason IS NULL AND (CAST(:tenant AS uuid) IS NULL OR s.tenant_id = :tenant)
  ORDER BY s.tenant_id, s.registration_id FOR UPDATE)
""")
RELEASE = text("""
UPDATE control.schedule SET hold_reason = NULL, held_until = NULL, next_at = app.now() WHERE (tenant_id, registration_id) IN (
  SELECT s.tenant_id, s.registration_id FROM control.schedule AS s
  WHERE s.hold_reason = :reason AND (CAST(:tenant AS uuid) IS NULL OR s.tenant_id = :tenant) AND app.hold_reason_v1(s.tenant_id) IS NULL
  ORDER BY s.tenant_id, s.registration_id FOR UPDATE)
""")


async def turn(connection: AsyncConnection, name: str, mode: str, tenant: UUID | None, actor: str) -> None:
    """Turn a switch; the change is in the audit trail and every process follows within two seconds.

    Raises:
        Invalid: no such switch or mode.
    """
    if name not in MODES:
        raise Invalid.at("/name", f"There is no switch {name!r}; there are: {', '.join(MODES)}.")
    if mode not in MODES[name]:
        raise Invalid.at("/mode", f"The switch {name} takes {' or '.join(MODES[name])}.")
    default_again = tenant is not None and mode == DEFAULTS[name]
    await connection.execute(
        FORGET if default_again else PUT,
        {"name": name, "tenant": tenant, "mode": mode} if not default_again else {"name": name, "tenant": tenant},
    )
    if name == "sending":
        await connection.execute(HOLD if mode == "hold" else RELEASE, {"reason": HELD, "tenant": tenant})
    await audit.record(connection, actor, "switch.turned", tenant, name, mode=mode)


async def all_switches(connection: AsyncConnection) -> list[dict[str, Any]]:
    """Every switch for everybody (at its default where nobody turned it), then what differs for single tenants."""
    query = select(switches.c.name, switches.c.tenant_id, switches.c.mode, switches.c.updated_at).order_by(
        switches.c.name, switches.c.tenant_id
    )
    turned = [dict(row) for row in (await connection.execute(query)).mappings()]
    everybody = {row["name"] for row in turned if row["tenant_id"] is None}
    untouched = [
        {"name": name, "tenant_id": None, "mode": mode, "updated_at": None} for name, mode in DEFAULTS.items() if name not in everybody
    ]
    return untouched + turned
