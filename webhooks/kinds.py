"""The message types that Vapi documents; bodies of others are kept, for whoever has to make sense of them."""

REPORT, STATUS = "end-of-call-report", "status-update"
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
        STATUS,
        REPORT,
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

CONTROL = "phone-call-control"
WARNINGS = {
    CONTROL: "Whoever subscribes to phone-call-control must forward and hang up calls; nobody here does. Remove it from serverMessages."
}


def is_known(kind: str) -> bool:
    """Whether the type is documented (VapiAI/docs, ServerMessage)."""
    return kind in KNOWN


def warning_of(kind: str) -> str | None:
    """What is wrong about getting a message of this type at all."""
    return WARNINGS.get(kind)
