"""Interim."""

from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from runtime.ids import TenantId
from tenants.snapshot import ToolView


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """x."""

    tenant: TenantId
    slug: str
    zone: ZoneInfo
    idempotency_key: str
    call_id: str | None
    tool_call_id: str | None
    assistant_id: str | None
    caller: str | None
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ToolOutcome:
    """x."""

    kind: str
    text: str
    status: int | None = None
    attempts: int = 1


class ToolHttp:
    """x."""

    async def run(self, tool: ToolView, call: ToolRequest, deadline: float) -> ToolOutcome:
        """x."""
        raise RuntimeError(tool, call, deadline)
