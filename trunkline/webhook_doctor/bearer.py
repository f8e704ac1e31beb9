"""Did a header hold a secret? And if not: what did it hold instead?"""

import hmac
import string

from tenants.credential_history import Known
from tenants.keys import PREFIX as API_KEY
from tenants.signature_plans import AUTHORIZATION, VAPI_SECRET, BearerPlan, SignaturePlan
from trunkline.webhook_doctor.captured import Captured
from trunkline.webhook_doctor.findings import Finding, length
from webhooks.credentials import without_prefix

REDACTED = "[REDACTED]"
LEAST_BEGINNING = 8  # characters in common that are no accident
QUOTES = string.whitespace + "\"'`<>"


def looked_into(credentials: list[Known]) -> list[str]:
    """The headers that a secret may come in."""
    more = sorted({each.plan.header_name for each in credentials if isinstance(each.plan, BearerPlan) and each.ended_at is None})
    return [AUTHORIZATION, VAPI_SECRET, *(name for name in more if name not in (AUTHORIZATION, VAPI_SECRET))]


def secret_in(value: str) -> str:
    """The secret in a header, as the door reads it."""
    return without_prefix(value.encode("latin-1", "replace"))


def same(left: str, right: str) -> bool:
    """Equal, in constant time out of habit; empty is never equal."""
    return bool(left) and hmac.compare_digest(left.encode(), right.encode())


def bearer_findings(credentials: list[Known], captured: Captured) -> list[Finding]:
    """One finding for each bearer secret that something can be said of."""
    names = looked_into(credentials)
    bearers = [each for each in credentials if isinstance(each.plan, BearerPlan)]
    findings = [found for each in bearers if (found := finding_of(each, names, captured)) is not None]
    return findings + strangers(credentials, names, captured, matched=bool(findings))


def finding_of(credential: Known, names: list[str], captured: Captured) -> Finding | None:
    """What can be said of one secret; of one that ended, only that it is this one."""
    about, expected = f"bearer secret {credential.name}", f"the secret of {length(credential.secret)} in {' or '.join(names)}"
    if not credential.secret:
        todo = "Put the key that sealed it back into TRUNKLINE_SECRET_KEYS, or rotate the secret."
        return None if credential.ended_at else Finding(about, "a secret that can be opened", "it was sealed by a key that is gone", todo)
    for name, value in captured.headers:
        if same(secret_in(value), credential.secret):
            return match(credential, about, expected, name, names)
        mistake = mistaken(value, credential.secret)
        if mistake is not None:
            return Finding(about, expected, f"{name}: {length(value)}: {mistake}", "Copy the secret into Vapi once more, and nothing else.")
    return None


def match(credential: Known, about: str, expected: str, name: str, names: list[str]) -> Finding:
    """The secret stands in a header."""
    if credential.ended_at is not None:
        ended = f"{credential.ended_at:%Y-%m-%d %H:%M:%S} UTC"
        todo = "Put the newest secret into Vapi. Where it is lost: rotate it, with a grace."
        return Finding(about, expected, f"{name}: this secret, which ended at {ended}", todo)
    if name not in names:
        todo = f"Set header_name to {name} (PUT /v1/webhook-credential), or let Vapi send it in Authorization."
        return Finding(about, expected, f"{name}: the secret, in a header that is not looked into", todo)
    return Finding(about, expected, f"{name}: the secret", holds=True)


def mistaken(value: str, secret: str) -> str | None:
    """How a value that is not the secret came from it."""
    presented = secret_in(value)
    bare = presented.strip(QUOTES)
    mistakes = {
        "the secret with quotes or spaces around it": same(bare, secret),
        "the secret with the word Bearer twice": same(secret_in(bare), secret),
        "the secret, but upper and lower case differ": same(presented.casefold(), secret.casefold()),
        "the secret with a space or line break inside": same("".join(presented.split()), secret),
        f"the beginning of the secret, which has {len(secret)} characters: it was cut off": len(presented) >= LEAST_BEGINNING
        and secret.startswith(presented),
        "the secret with more behind it": presented.startswith(secret),
    }
    return next((words for words, made in mistakes.items() if made), None)


def strangers(credentials: list[Known], names: list[str], captured: Captured, *, matched: bool) -> list[Finding]:
    """What the headers hold that is no secret of the tenant at all."""
    found = []
    signing = [each for each in credentials if isinstance(each.plan, SignaturePlan)]
    for name in names:
        for value in captured.values(name):
            secret, about = secret_in(value), f"header {name}"
            signed = next((each for each in signing if same(secret, each.secret)), None)
            if not secret:
                found.append(Finding(about, "a secret", "empty", "Set the credential in Vapi: an empty one matches nothing."))
            elif secret == REDACTED:
                todo = "Vapi withholds credentials from an assistant that stands in the request itself: save it, or use server.headers."
                found.append(Finding(about, "a secret", "withheld by Vapi", todo))
            elif secret.startswith(API_KEY):
                todo = "Put the webhook secret into Vapi, revoke this API key and make a new one: Vapi has seen it."
                found.append(Finding(about, "a webhook secret", f"an API key of this service, {length(secret)}", todo))
            elif signed is not None:
                todo = "Choose HMAC as the type of the credential in Vapi, or the mode bearer here; and rotate it: it was sent in clear."
                found.append(Finding(about, "a signature", f"the signing secret {signed.name} itself", todo))
            elif not matched:
                todo = "Put the secret of this tenant into Vapi. Where it is lost: rotate it, with a grace."
                found.append(Finding(about, "a secret of this tenant", f"another one, {length(secret)}", todo))
    return found
