"""What a tenant's privacy setting does not keep does not stay in its kept bodies either: by the names that Vapi gives these fields.

The other party's number goes or is masked, what was said and its recordings go, summaries go. What people said inside other texts (a
tool's arguments, say) stays: a body is the tenant's own, and leaves with its days. Pure; the input is not changed.
"""

from typing import Any

from tenants.privacy import Privacy
from webhooks.call_contents import masked

CUSTOMER, NUMBERS = "customer", ("number", "sipUri")
WORDS = frozenset(
    {
        "transcript", "originalTranscript", "messages", "messagesOpenAIFormatted", "conversation", "recording", "recordingUrl",
        "stereoRecordingUrl", "videoRecordingUrl", "pcapUrl",
    }
)  # fmt: skip
GISTS = frozenset({"summary"})
WHOLE = Privacy("encrypted", transcripts=True, summaries=True)


def private_document(document: Any, privacy: Privacy) -> Any:
    """The document without what the setting does not keep; its levels are few, see secrets_in_bodies.DEEPEST."""
    if privacy == WHOLE:
        return document
    gone = (frozenset() if privacy.transcripts else WORDS) | (frozenset() if privacy.summaries else GISTS)
    return without(document, gone, privacy)


def without(value: Any, gone: frozenset[str], privacy: Privacy) -> Any:
    """One value without the fields that go."""
    if isinstance(value, list):
        return [without(each, gone, privacy) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        name: numberless(without(each, gone, privacy), privacy) if name == CUSTOMER else without(each, gone, privacy)
        for name, each in value.items()
        if name not in gone
    }


def numberless(customer: Any, privacy: Privacy) -> Any:
    """The other party with as much of its number as is kept."""
    if privacy.customer == "encrypted" or not isinstance(customer, dict):
        return customer
    others = {name: value for name, value in customer.items() if name not in NUMBERS}
    number = customer.get("number")
    return others | {"number": masked(number)} if privacy.customer == "masked" and isinstance(number, str) else others
