"""Does a signature hold? And if not: what would have to be otherwise?"""

from tenants.credential_history import Known
from tenants.signature_plans import SignaturePlan, signing_key
from trunkline.webhook_doctor.captured import Captured
from trunkline.webhook_doctor.findings import Finding, length
from trunkline.webhook_doctor.search import ALGORITHMS, Match, nearest_match, signatures_in
from webhooks import signatures
from webhooks.signatures import MALFORMED, NO_MESSAGE_ID, NO_SIGNATURE, NO_TIMESTAMP, ODD_TIMESTAMP, TIMESTAMP, WRONG, fault_of, seconds_of

DIGITS = {
    ("hex", "sha1"): 40,
    ("hex", "sha256"): 64,
    ("hex", "sha512"): 128,
    ("base64", "sha1"): 28,
    ("base64", "sha256"): 44,
    ("base64", "sha512"): 88,
}
MICROSECONDS_FROM = 100_000_000_000_000
ONCE = "Send it once: a proxy, or a static header in Vapi's server.headers, adds it a second time."
CAPTURE = "Capture the body as well, byte for byte (body_base64)."


def signature_findings(credentials: list[Known], captured: Captured, public_url: str) -> list[Finding]:
    """One finding for each signing secret that is valid, and for one that ended if it is the one."""
    found = []
    for each in credentials:
        if isinstance(each.plan, SignaturePlan):
            finding = finding_of(each, each.plan, captured, public_url)
            if each.ended_at is None or "which ended at" in finding.arrived:
                found.append(finding)
    return found


def finding_of(credential: Known, plan: SignaturePlan, captured: Captured, public_url: str) -> Finding:
    """What can be said of one signing secret."""
    about, expected, arrived = f"signing secret {credential.name}", expectation(plan), arrival(plan, captured)
    if not credential.secret:
        todo = "Put the key that sealed it back into TRUNKLINE_SECRET_KEYS, or rotate the secret."
        return Finding(about, "a secret that can be opened", "it was sealed by a key that is gone", todo)
    if captured.body is None:
        return Finding(about, expected, f"{arrived}; the body was not captured, so nothing can be verified", CAPTURE)
    fault = fault_of(plan, signing_key(plan, credential.secret), captured.delivery(public_url), moment_for(plan, captured))
    match fault:
        case None:
            return held(credential, about, expected, captured)
        case signatures.OUTSIDE:
            return Finding(about, expected, *window(plan, captured))
        case signatures.TWICE:
            return Finding(about, expected, f"{arrived}; a header comes twice", ONCE)
    return otherwise(credential, plan, captured, public_url, fault)


def otherwise(credential: Known, plan: SignaturePlan, captured: Captured, public_url: str, fault: str) -> Finding:
    """A signature that does not hold as the plan is: perhaps under another."""
    about, expected, arrived = f"signing secret {credential.name}", expectation(plan), arrival(plan, captured)
    found = nearest_match(plan, credential.secret, captured, public_url)
    if found is None:
        return Finding(about, expected, f"{arrived}; {WORDS[fault]}", advice(fault, captured))
    return Finding(about, expected, f"{arrived}; {WORDS[fault]}, but it holds otherwise", mending(found, credential, fault))


def held(credential: Known, about: str, expected: str, captured: Captured) -> Finding:
    """The signature holds."""
    if credential.ended_at is not None:
        return ended(credential, about, expected)
    dated = captured.received_at is None and isinstance(credential.plan, SignaturePlan) and credential.plan.include_timestamp
    note = "; the capture does not say when it arrived (received_at), so the window was not looked at" if dated else ""
    return Finding(about, expected, f"a signature that holds{note}", holds=True)


def ended(credential: Known, about: str, expected: str) -> Finding:
    """The signature holds with a secret that is not valid any more."""
    at = f"{credential.ended_at:%Y-%m-%d %H:%M:%S} UTC"
    return Finding(
        about, expected, f"a signature with this secret, which ended at {at}", "Put the newest secret into Vapi, or rotate it with a grace."
    )


def expectation(plan: SignaturePlan) -> str:
    """What the plan wants, in words."""
    stamp = f", timestamp in {plan.timestamp_header}" if plan.include_timestamp else ""
    number = f", id in {plan.message_id_header}" if "{svix-id}" in plan.format else ""
    prefix = f"{plan.signature_prefix} and " if plan.signature_prefix else ""
    form = f"{prefix}{DIGITS[plan.signature_encoding, plan.algorithm]} characters of {plan.signature_encoding}"
    return f"{plan.algorithm} of {plan.format!r} in {plan.signature_header}: {form}{stamp}{number}"


def arrival(plan: SignaturePlan, captured: Captured) -> str:
    """What came in the headers that the plan names."""
    names = [plan.signature_header, *([plan.timestamp_header] if plan.include_timestamp else [])]
    names += [plan.message_id_header] if "{svix-id}" in plan.format else []
    return ", ".join(f"{name}: {' and '.join(map(length, captured.values(name))) or 'missing'}" for name in names)


def moment_for(plan: SignaturePlan, captured: Captured) -> float:
    """When it arrived; where that was not captured, the timestamp's own time, so that the window does not matter."""
    if captured.received_at is not None:
        return captured.received_at
    stamps = [value.encode() for value in captured.values(plan.timestamp_header)]
    return seconds_of(stamps[0]) if stamps and TIMESTAMP.fullmatch(stamps[0]) else 0.0


def window(plan: SignaturePlan, captured: Captured) -> tuple[str, str]:
    """A signature that holds, made at another time than now."""
    stamp = captured.values(plan.timestamp_header)[0].encode()
    if float(stamp) >= MICROSECONDS_FROM:
        return (
            "a signature that holds, with a timestamp in microseconds",
            "Only seconds and milliseconds are taken: let Vapi send one of those.",
        )
    away = seconds_of(stamp) - (captured.received_at or 0.0)
    when = f"{abs(away):,.0f} s {'after' if away > 0 else 'before'} it arrived"
    arrived = f"a signature that holds, made {when}; the window is {plan.replay_window_seconds} s"
    if away > 0:
        return arrived, "Set the clock of the machine that Trunkline runs on: a signature from the future means that it is behind."
    return (
        arrived,
        "It was repeated or held up on its way. If every delivery comes so late, set the clock right, or widen replay_window_seconds.",
    )


WORDS = {
    NO_SIGNATURE: "there is no signature where it was expected",
    MALFORMED: "what stands there is no such signature",
    NO_TIMESTAMP: "there is no timestamp where it was expected",
    ODD_TIMESTAMP: "the timestamp is neither seconds nor milliseconds",
    NO_MESSAGE_ID: "there is no message id where it was expected",
    WRONG: "the signature is another one",
}


def mending(match: Match, credential: Known, fault: str) -> str:
    """How to make both sides agree."""
    words = list(match.beside)
    if match.options:
        told = ", ".join(f"{name}: {value if not isinstance(value, str) else repr(value)}" for name, value in sorted(match.options.items()))
        where = "PUT /v1/webhook-credential" if credential.assistant is None else "POST /v1/assistants/{id}/rotate-secret with auth"
        words.append(f"set {told} here ({where}), or the opposite in Vapi")
    if fault == ODD_TIMESTAMP:
        words.append("let Vapi send the timestamp in seconds or milliseconds: another form is not taken")
    text = "; ".join(words) or "send it once more"
    return text[0].upper() + text[1:] + "."


def advice(fault: str, captured: Captured) -> str:
    """What to do where no combination holds."""
    if fault == NO_SIGNATURE and not any(signatures_in(captured, SignaturePlan())):
        return "Choose the HMAC credential for the server in Vapi (server.credentialId): no header holds anything like a signature."
    if captured.rebuilt:
        return f"{CAPTURE} This one was written anew from what it was parsed to, which is seldom the same."
    lengths = " or ".join(sorted({ALGORITHMS[len(each.digest)] for each in signatures_in(captured, SignaturePlan())}))
    said = f" What arrived has the length of {lengths}." if lengths else ""
    return f"No option makes it hold: another secret, or a body that was changed on its way. Put the secret into Vapi again.{said}"
