"""Every credential that a tenant has or had, with its secret opened: for the operator's doctor alone, which tells names and lengths."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime.crypto import Keyring, SealBroken
from runtime.ids import TenantId
from tenants.credentials import COLUMN, SIGNING_COLUMN
from tenants.signature_plans import BearerPlan, Plan, SignaturePlan

EVERY = text("""
SELECT a.name, c.secret_sealed, c.header, c.bearer_prefix, NULL::jsonb AS plan, c.valid_until, c.valid_until <= app.now() AS is_over, c.id
FROM webhook_credentials AS c LEFT JOIN assistants AS a ON a.tenant_id = c.tenant_id AND a.id = c.assistant_id WHERE c.tenant_id = :tenant
UNION ALL
SELECT a.name, s.secret_sealed, NULL, NULL, s.plan, s.valid_until, s.valid_until <= app.now(), s.id
FROM signing_credentials AS s LEFT JOIN assistants AS a ON a.tenant_id = s.tenant_id AND a.id = s.assistant_id WHERE s.tenant_id = :tenant
ORDER BY 7, 8 DESC
""")


@dataclass(frozen=True, slots=True)
class Known:
    """A credential; `assistant` is None where it is the whole tenant's, `ended_at` where it is valid; an unopened secret is empty."""

    assistant: str | None
    plan: Plan
    secret: str = field(repr=False)
    ended_at: datetime | None

    @property
    def name(self) -> str:
        """Whose it is, for people."""
        return "the tenant's" if self.assistant is None else f"of assistant {self.assistant}"


async def every_credential(connection: AsyncConnection, keyring: Keyring, tenant: TenantId) -> list[Known]:
    """Those that are valid first, the newest first."""
    rows = (await connection.execute(EVERY, {"tenant": tenant})).mappings()
    return [known(keyring, tenant, row) for row in rows]


def known(keyring: Keyring, tenant: TenantId, row: Any) -> Known:
    """From a row of EVERY."""
    signs = row["plan"] is not None
    plan: Plan = msgspec.convert(row["plan"], SignaturePlan) if signs else BearerPlan(row["header"], row["bearer_prefix"])
    try:
        secret = keyring.open(row["secret_sealed"], tenant, SIGNING_COLUMN if signs else COLUMN)
    except SealBroken:
        secret = ""
    return Known(row["name"], plan, secret, row["valid_until"] if row["is_over"] else None)
