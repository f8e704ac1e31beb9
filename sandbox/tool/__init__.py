"""A stand-in for a tenant's own HTTP endpoint. `python -m sandbox.tool --port N`."""

from sandbox.tool.server import ToolSandbox

__all__ = ["ToolSandbox"]
