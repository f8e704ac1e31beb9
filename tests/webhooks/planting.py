"""Bodies with a secret at a random place: where Vapi is known to put one, and where nobody expects any."""

import json
from copy import deepcopy
from typing import Any

from hypothesis import strategies as st

from tests.webhooks.shapes import DELIVERIES, Fields
from webhooks.kinds import KNOWN

SECRET = "Zq9@@"  # with the word that only one delivery has
FAULTY = "made.to.fail"  # a type that the tests have a bug for
NAMES = st.sampled_from(
    [
        "twilioAuthToken",
        "twilioApiSecret",
        "twilioApiKey",
        "serverUrlSecret",
        "secret",
        "authorization",
        "apiKey",
        "credentials",
        "password",
    ]
)
IN_TEXT = st.sampled_from(
    [
        "Authorization: Bearer {}",
        "https://user:{}@example.com/hook",
        "https://example.com/?token={}",
        "password={}",
        "secret: '{}'",
        "sk-{}",
    ]
)


def known_places(secret: str) -> dict[str, Fields]:
    """What Vapi itself sends along, by where it stands in the message (VapiAI/docs; seen in deliveries)."""
    raw = f'INVITE sip:+12135550100@192.0.2.1 SIP/2.0\r\nX-Guest: {secret}\r\nAuthorization: Digest response="{secret}"\r\n\r\nv=0\r\n'
    offer = {"raw": raw, "headers": {"X-Guest": secret}}
    tool = {"type": "function", "server": {"url": f"https://hook:{secret}@example.com", "secret": secret, "headers": {"X-Key": secret}}}
    return {
        "phoneNumber": {
            "number": "+12135550100",
            "twilioAccountSid": "AC" + "0" * 32,
            "twilioAuthToken": secret,
            "serverUrlSecret": secret,
        },
        "assistant": {"id": None, "server": {"secret": secret}, "model": {"tools": [tool]}, "variableValues": {"guest": secret}},
        "assistantOverrides": {"variableValues": {"sip-guest": secret}, "credentials": [{"provider": "twilio", "authToken": secret}]},
        "destination": {"sipUri": "sip:desk@192.0.2.1", "sipHeaders": {"X-Guest": secret}},
        "sip": offer,
        "artifact": {"nodes": [{"sip": offer}], "logUrl": f"https://example.com/log?X-Amz-Signature={secret}"},
    }


@st.composite
def unknown_place(draw: st.DrawFn, secret: str) -> Any:
    """A secret somewhere in something: by its name, as a header, in a sentence, in JSON in a string."""
    name = draw(NAMES)
    value: Any = draw(
        st.sampled_from(
            [
                {name: secret},
                {name: [{"deep": secret}]},
                {"headers": {"X-Anything": secret}},
                {"headers": [{"name": "X-Anything", "value": secret}]},
                {"name": name, "value": secret},
                [name, secret],
                draw(IN_TEXT).format(secret),
                json.dumps({name: secret}),
                {json.dumps({name: secret}): 1},
            ]
        )
    )
    for step in draw(st.lists(st.sampled_from(["list", "object", "text"]), max_size=4)):
        value = [None, value] if step == "list" else {"part": value} if step == "object" else {"output": value}
    return value


def objects_in(value: Any) -> list[Fields]:
    """All objects of a message that are no arguments: what a model hands to a tool is the tool's."""
    if isinstance(value, list):
        return [found for each in value for found in objects_in(each)]
    if not isinstance(value, dict):
        return []
    inner = [found for name, each in value.items() if name not in ("arguments", "parameters") for found in objects_in(each)]
    return [value, *inner]


def message_of(kind: str) -> Fields:
    return {"type": kind, "call": {"id": "call-@@"}, "status": "ended", "endedReason": "customer-ended-call", "transcript": "Hello."}


# bodies of unknown types and of faults are kept, whatever the tenant set; a function-call without its call is refused
KINDS = st.sampled_from([FAULTY, "brand.new"]) | st.sampled_from(sorted(KNOWN - {"function-call"}))
MESSAGES = DELIVERIES.map(lambda delivery: delivery.message) | KINDS.map(message_of)


@st.composite
def planted(draw: st.DrawFn) -> Fields:
    """A message of any type with secrets in it."""
    message = json.loads(json.dumps(draw(MESSAGES)))
    for field, value in known_places(SECRET).items():
        if draw(st.booleans()):
            message[field] = value
    for number in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(objects_in(message)))
        place[f"extra{number}"] = draw(unknown_place(SECRET))
    return {"message": {**message, "nonce": "@@"}}


@st.composite
def bent(draw: st.DrawFn) -> bytes:
    """A message of any type with fields that are gone, null or of another form, and at times with bytes that are no JSON."""
    message: Fields = json.loads(json.dumps(draw(MESSAGES)))
    junk = st.sampled_from([None, True, 0, -1, 1.5, 10**400, 1e300, "", "\x00", "x" * 300, "\ud800", [], [[]], {}, {"id": {}}, ["id"]])
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.sampled_from(objects_in({"message": message})))
        if place:
            name = draw(st.sampled_from(sorted(place)))
            place.pop(name) if draw(st.booleans()) else place.update({name: deepcopy(draw(junk))})  # its own: it may be bent again
    body = json.dumps({"message": message}).encode()
    if draw(st.integers(0, 2)) == 0:
        at = draw(st.integers(0, len(body)))
        body = body[:at] + draw(st.sampled_from([b"\xff", b"\x00", b"\\u0000", b"\xef\xbb\xbf", b'"', b"1e999", b"[" * 2_000])) + body[at:]
    return body
