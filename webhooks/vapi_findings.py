"""What is wrong with an assistant at Vapi as it is today: names and addresses, never a secret; pure decisions."""

from collections.abc import Sequence
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from webhooks.vapi_tools import attached, goes_elsewhere, name_of, server_url
from webhooks.vapi_wish import AUTHORIZATION, BACKOFF, MESSAGES, TAKES_OVER, Json, Wish, backs_off, bearer, long_enough

LONGEST_NAME = 40  # of an assistant; a longer one makes Vapi refuse whoever sends it back
LONGEST_SHOWN = 200
NOTHING = "nothing"


class Finding(msgspec.Struct, frozen=True):
    """One thing: where it stands, what was found, what is expected. `error`: calls or messages are lost; `mendable`: by `mend`."""

    what: str
    severity: Literal["error", "warning"]
    found: str
    expected: str
    mendable: bool


def findings(assistant: Json, tools: Sequence[Json], wish: Wish, secrets: Sequence[str]) -> list[Finding]:
    """All of them, the worst first. `secrets`: those that are valid, the newest first."""
    server = assistant.get("server")
    found = [
        *server_findings(server if isinstance(server, dict) else {}, wish, secrets),
        *message_findings(assistant.get("serverMessages")),
        *tool_findings(attached(assistant, tools), wish.url),
    ]
    name = assistant.get("name")
    if isinstance(name, str) and len(name) > LONGEST_NAME:
        found.append(Finding("name", "warning", f"{len(name)} characters", f"at most {LONGEST_NAME} characters", mendable=False))
    return sorted(found, key=lambda each: each.severity)


def draft(version: str) -> Finding:
    """The change is there, but calls do not use it."""
    return Finding("latestVersion", "error", f"{version}, from before the change", "a published version with the change", mendable=False)


def server_findings(server: Json, wish: Wish, secrets: Sequence[str]) -> list[Finding]:
    """Where messages go, how they prove themselves, how long Vapi waits and whether it tries again."""
    found = []
    if server.get("url") != wish.url:
        found.append(Finding("server.url", "error", address(server.get("url")), address(wish.url), mendable=True))
    if wish.secret is not None:
        found += header_findings(server.get("headers"), secrets)
    elif not server.get("credentialId"):
        expected = "the credential that signs, made in Vapi's dashboard with the options of this assistant"
        found.append(Finding("server.credentialId", "error", NOTHING, expected, mendable=False))
    seconds = server.get("timeoutSeconds")
    if not long_enough(20 if seconds is None else seconds, wish.seconds):
        said = str(seconds) if isinstance(seconds, int | float) else NOTHING
        found.append(Finding("server.timeoutSeconds", "error", said, f"at least {wish.seconds}", mendable=True))
    if not backs_off(server.get("backoffPlan")):
        said = "a plan that repeats what is refused, or not what is lost" if server.get("backoffPlan") else NOTHING
        expected = f"{BACKOFF['type']}, {BACKOFF['maxRetries']} retries, without {BACKOFF['excludedStatusCodes']}"
        found.append(Finding("server.backoffPlan", "error", said, expected, mendable=True))
    if server.get("encryptedPaths"):
        found.append(Finding("server.encryptedPaths", "warning", "encrypted fields", "none: they cannot be read here", mendable=False))
    return found


def header_findings(headers: object, secrets: Sequence[str]) -> list[Finding]:
    """Whether the credential is one of ours; its value is not shown."""
    what, expected = f"server.headers.{AUTHORIZATION}", "the assistant's secret as a bearer token"
    named = {name.lower(): value for name, value in headers.items() if isinstance(name, str)} if isinstance(headers, dict) else {}
    value = named.get(AUTHORIZATION.lower())
    if value is None:
        return [Finding(what, "error", NOTHING, expected, mendable=True)]
    if value not in [bearer(secret) for secret in secrets]:
        return [Finding(what, "error", "another value", expected, mendable=True)]
    if value != bearer(secrets[0]):
        return [Finding(what, "warning", "a valid secret, but not the newest of the assistant", expected, mendable=True)]
    return []


def message_findings(subscribed: object) -> list[Finding]:
    """What Vapi sends; a list that is left out means eleven types by default."""
    if not isinstance(subscribed, list):
        return [Finding("serverMessages", "warning", NOTHING, ", ".join(MESSAGES), mendable=True)]
    names = [each for each in subscribed if isinstance(each, str)]
    found = []
    if TAKES_OVER in names:
        expected = "not subscribed: who is has to forward and hang up calls itself"
        found.append(Finding(f"serverMessages.{TAKES_OVER}", "error", "subscribed", expected, mendable=True))
    missing = [each for each in MESSAGES if each not in names]
    if missing:
        found.append(Finding("serverMessages", "error", f"not subscribed: {', '.join(missing)}", ", ".join(MESSAGES), mendable=True))
    more = [each for each in names if each not in MESSAGES and each != TAKES_OVER]
    if more:
        shown = ", ".join(more)[:LONGEST_SHOWN]
        found.append(Finding("serverMessages", "warning", f"more than is used: {shown}", ", ".join(MESSAGES), mendable=True))
    return found


def tool_findings(tools: Sequence[Json], url: str) -> list[Finding]:
    """Tools whose own address wins over the assistant's."""
    return [
        Finding(
            f"tool {name_of(each)[:64]} server.url",
            "warning",
            address(server_url(each)),
            "nothing, or the assistant's server",
            mendable=False,
        )
        for each in tools
        if goes_elsewhere(each, url)
    ]


def address(url: object) -> str:
    """An address without what may be secret in it: whoever it names, and its query."""
    if not isinstance(url, str) or not url:
        return NOTHING
    try:
        parts = urlsplit(url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"[:LONGEST_SHOWN]
    except ValueError:
        return "no address"
