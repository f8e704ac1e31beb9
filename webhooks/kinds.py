"""The message types that Vapi documents; bodies of others are kept, for whoever has to make sense of them."""

KNOWN = frozenset(
    {
        "assistant-request",
        "tool-calls",
        "function-call",
        "transfer-destination-request",
        "handoff-destination-request",
        "knowledge-base-request",
        "voice-request",
        "call.endpointing.request",
        "campaign.predial",
        "phone-call-control",
        "status-update",
        "end-of-call-report",
        "conversation-update",
        "speech-update",
        "model-output",
        "transcript",
        'transcript[transcriptType="final"]',
        "voice-input",
        "user-interrupted",
        "assistant.speechStarted",
        "assistant.started",
        "hang",
        "transfer-update",
        "language-change-detected",
        "language-changed",
        "chat.created",
        "chat.deleted",
        "session.created",
        "session.updated",
        "session.deleted",
        "call.deleted",
        "call.delete.failed",
        "call.artifact.upload",
    }
)


def is_known(kind: str) -> bool:
    """Whether the type is documented (VapiAI/docs, ServerMessage)."""
    return kind in KNOWN
