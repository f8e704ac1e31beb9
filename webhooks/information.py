"""Messages that only inform: recorded once, known by what they are about, when they say it was, and what they carry of their own."""

from runtime.ids import uuid7
from webhooks import keys
from webhooks.claims import Effect
from webhooks.envelope import Webhook, id_in, present


def information(webhook: Webhook, answer: str) -> Effect:
    """A message that is recorded once."""
    own = keys.own_fields(webhook.body)
    return Effect(
        webhook_id=uuid7(),
        place=0,
        source="vapi",
        type=webhook.type,
        call_id=webhook.call_id,
        assistant_id=webhook.assistant_id,
        key=key_of_information(webhook, own).hex(),
        fingerprint=own.hex(),
        answer=answer,
    )


def subject_of(webhook: Webhook) -> str | None:
    """What an informational message is about: its call, else its chat or session; None: only the same bytes are the same."""
    return webhook.call_id or id_in(webhook.message.chat) or id_in(webhook.message.session)


def key_of_information(webhook: Webhook, own: bytes) -> bytes:
    """Its idempotency key; `own` is the hash of the fields that only its type carries."""
    timestamp = bytes(webhook.message.timestamp) if present(webhook.message.timestamp) else None
    subject = subject_of(webhook)
    return keys.information_key(webhook.type, subject, timestamp, own if subject else keys.digest(keys.stable(webhook.body)))
