"""Switches: controls the operator turns at run time, for all tenants or for one."""

from typing import Any
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime.refusals import Invalid
from tenants import audit
from tenants.tables import switches

MODES = {"sending": ("on", "hold")}
DEFAULTS = {name: modes[0] for name, modes in MODES.items()}
HELD = "sending held"

PUT = text("""
INSERT INTO control.switches (name, tenant_id, mode) VALUES (:name, :tenant, :mode)
ON CONFLICT (name, tenant_id) DO UPDATE SET mode = excluded.mode, updated_at = app.now()
""")
# everybody's switch leaves alone whoever has one of their own
CONCERNED = """(CAST(:tenant AS uuid) = tenant_id OR CAST(:tenant AS uuid) IS NULL AND NOT EXISTS (
  SELECT 1 FROM control.switches AS own WHERE own.name = 'sending' AND own.tenant_id = control.schedule.tenant_id AND own.mode <> :mode))"""
HOLD = text(f"UPDATE control.schedule SET hold_reason = :reason WHERE hold_reason IS NULL AND {CONCERNED}")
RELEASE = text(f"""
UPDATE control.schedule SET hold_reason = NULL, held_until = NULL, next_at = app.now() WHERE hold_reason = :reason AND {CONCERNED}
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
    await connection.execute(PUT, {"name": name, "tenant": tenant, "mode": mode})
    if name == "sending":
        await connection.execute(HOLD if mode == "hold" else RELEASE, {"reason": HELD, "tenant": tenant, "mode": mode})
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
