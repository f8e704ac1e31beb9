"""What an assistant at Vapi should look like for Trunkline, and which of its fields have to change; pure decisions.

Shapes: docs.vapi.ai, API reference, `PATCH /assistant/{id}`: a field that is sent replaces the old one whole, so that what is not ours
inside a field is sent along as it is.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tenants.snapshot import Snapshot
from webhooks.own_tools import OwnTools

Json = dict[str, Any]

AUTHORIZATION = "Authorization"
MESSAGES = ("tool-calls", "status-update", "end-of-call-report", "transfer-destination-request", "handoff-destination-request")
TAKES_OVER = "phone-call-control"  # who subscribes to it has to hang up and forward calls itself
# Without a plan nothing is sent again, and a report is lost while we are away. What we refuse for good is excluded.
BACKOFF: Json = {"type": "exponential", "maxRetries": 3, "baseDelaySeconds": 1, "excludedStatusCodes": [400, 401, 403, 404, 413, 422]}
FOR_GOOD, PASSING = {401, 403, 422}, {500, 502, 503, 504}
DEFAULT_SECONDS, MOST_SECONDS = 20, 300  # of server.timeoutSeconds
FIELDS = ("server", "serverMessages")  # of an assistant, which are ours whole


@dataclass(frozen=True, slots=True)
class Wish:
    """How a tenant's assistant should reach us.

    `secret`: None leaves the headers alone, since Vapi signs with a credential of its own. `tools`: None leaves the tools alone.
    """

    url: str
    secret: str | None = field(repr=False)
    seconds: int = DEFAULT_SECONDS
    tools: tuple[Json, ...] | None = None


def seconds_for(tenant: Snapshot) -> int:
    """How long Vapi has to wait for an answer: as long as the slowest tool of the tenant's own may take with all its attempts."""
    return max(DEFAULT_SECONDS, math.ceil(OwnTools.longest(tenant, tenant.tools)) if tenant.tools else 0)


def server_of(before: object, wish: Wish) -> Json:
    """The server as it should be: what is not ours in it stays, and so does a time-out that is long enough."""
    kept = before if isinstance(before, dict) else {}
    headers = kept.get("headers") if isinstance(kept.get("headers"), dict) else {}
    if wish.secret is not None:
        headers = with_secret(headers or {}, wish.secret)
    seconds = kept.get("timeoutSeconds")
    return {
        **kept,
        "url": wish.url,
        **({"headers": headers} if headers else {}),
        "timeoutSeconds": seconds if long_enough(seconds, wish.seconds) else wish.seconds,
        "backoffPlan": kept["backoffPlan"] if backs_off(kept.get("backoffPlan")) else BACKOFF,
    }


def with_secret(headers: Json, secret: str) -> Json:
    """The headers with ours; an Authorization that stood there, in whatever spelling, goes."""
    foreign = {name: value for name, value in headers.items() if name.lower() != AUTHORIZATION.lower()}
    return {**foreign, AUTHORIZATION: bearer(secret)}


def bearer(secret: str) -> str:
    """The header that proves Vapi to us; an Authorization among a server's headers wins over any credential of the organisation."""
    return f"Bearer {secret}"


def long_enough(seconds: object, needed: int) -> bool:
    """Whether a time-out gives us the time that we need."""
    return isinstance(seconds, int | float) and not isinstance(seconds, bool) and needed <= seconds <= MOST_SECONDS


def backs_off(plan: object) -> bool:
    """Whether a delivery that we could not take is sent again, and one that we refused for good is not."""
    if not isinstance(plan, dict):
        return False
    excluded, retries = plan.get("excludedStatusCodes"), plan.get("maxRetries")
    if not (isinstance(excluded, list) and isinstance(retries, int | float)):
        return False
    codes = {code for code in excluded if isinstance(code, int)}
    return retries >= 1 and codes >= FOR_GOOD and codes.isdisjoint(PASSING)


def patch_for(assistant: Json, wish: Wish, tool_ids: Sequence[str] | None) -> Json:
    """The fields to send, whole; empty where all is as it should be."""
    wanted: Json = {"server": server_of(assistant.get("server"), wish), "serverMessages": list(MESSAGES)}
    if tool_ids is not None:
        wanted["model"] = {**model_of(assistant), "toolIds": list(tool_ids)}
    return {name: value for name, value in wanted.items() if not meets(name, assistant.get(name), value)}


def meets(name: str, found: object, wanted: object) -> bool:
    """Whether a field is as wanted; Vapi may add to it, and the order of subscriptions means nothing."""
    if name == "serverMessages":
        return isinstance(found, list) and isinstance(wanted, list) and sorted(map(str, found)) == sorted(wanted)
    if name == "model":
        return isinstance(found, dict) and isinstance(wanted, dict) and (found.get("toolIds") or []) == (wanted.get("toolIds") or [])
    return contains(found, wanted)


def contains(found: object, wanted: object) -> bool:
    """Whether everything wanted is there; objects may hold more, and null is as good as absent."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(contains(found.get(name), value) for name, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(found, list) and len(found) == len(wanted) and all(map(contains, found, wanted))
    return found == wanted


def model_of(assistant: Json) -> Json:
    """The assistant's model, or nothing."""
    model = assistant.get("model")
    return model if isinstance(model, dict) else {}


def tool_ids_of(assistant: Json) -> list[str]:
    """The ids of the tools that are joined to the assistant."""
    ids = model_of(assistant).get("toolIds")
    return [each for each in ids if isinstance(each, str)] if isinstance(ids, list) else []
