"""What a Vapi webhook means: envelope, credentials, idempotency keys, handlers by message type, the tools."""
