"""A tool call as it is asked for, by a webhook or anew by a replay of one."""

from datetime import datetime
from uuid import UUID

import msgspec
from msgspec import UNSET, Raw, UnsetType

from runtime import clock
from webhooks import answers, keys
from webhooks.envelope import LONGEST_ID, Webhook
from webhooks.moments import moment_of
from webhooks.tool_calls import ToolCall, function_calls, tool_calls


class Asked(msgspec.Struct, frozen=True):
    """One tool call with where it comes from. `key` names its effect within the tenant, `place` its place in the answer.

    `arguments` is what the call was given, in canonical form.
    """

    webhook_id: UUID
    place: int
    type: str
    call_id: str | None
    assistant_id: str | None
    caller: str | None
    tool: ToolCall
    arguments: bytes
    key: bytes
    replay_of: UUID | None = None
    said_at: Raw | UnsetType = UNSET  # the message's own timestamp, unread: few tools ask for it

    @property
    def moment(self) -> datetime | None:
        """When it was said, as far as the webhook tells; None is now."""
        return moment_of(self.said_at, clock.now())

    @property
    def fingerprint(self) -> bytes:
        """What is asked."""
        return keys.tool_call_fingerprint(self.tool.name, self.arguments)

    def said(self, *, result: str | None = None, error: str | None = None) -> str:
        """The entry that answers it."""
        if self.type == answers.FUNCTION_CALL:
            return answers.function_result(result if result is not None else error)
        return answers.entry(self.tool.id, self.tool.name, result=result, error=error)


def asked_by(webhook: Webhook, delivery: UUID) -> list[Asked]:
    """The tool calls of a webhook, in their order.

    Raises:
        Invalid: they cannot be read.
    """
    legacy = webhook.type == answers.FUNCTION_CALL
    calls = function_calls(webhook.message) if legacy else tool_calls(webhook.message)
    key_of = keys.function_call_key if legacy else keys.tool_call_key
    asked = []
    for place, call in enumerate(calls):
        arguments = keys.canonical(call.arguments)
        key = key_of(webhook.call_id, call.id, call.name, arguments, webhook.body)
        where = (delivery, place, webhook.type, webhook.call_id, webhook.assistant_id, webhook.caller)
        asked.append(Asked(*where, call, arguments, key, said_at=webhook.message.timestamp))
    return asked


def storable(text: str) -> str:
    """An id or a name as a row can hold it; its key is made of the whole."""
    return text[:LONGEST_ID].replace("\x00", "\ufffd")
