"""A stand-in for Vapi: assistants, calls, and a player of webhooks. `python -m sandbox.vapi --port N`."""

from sandbox.vapi.server import VapiSandbox

__all__ = ["VapiSandbox"]
