"""What is personal about a call: the other party's number, the transcript, the summary. Kept as far as the tenant's privacy setting goes.

Numbers, transcripts and summaries are sealed; they stand in no log, no list, and not beside the figures that a replay needs.
"""

import base64
import re
import zlib
from dataclasses import dataclass, field

import msgspec
from msgspec import UNSET, Raw, UnsetType

from runtime.crypto import Keyring
from runtime.ids import TenantId
from tenants.privacy import Privacy
from webhooks.envelope import decoded, reread

CUSTOMER, TRANSCRIPT, SUMMARY = "calls.customer", "call_contents.transcript", "call_contents.summary"  # what a seal is bound to
LONGEST_NUMBER, LONGEST_TEXT = 64, 2_000_000  # characters: hours of talk
SHOWN_DIGITS, FEWEST_DIGITS = 4, 8  # of a shorter number the last four would be most of it
LEVEL = 6
MASKED_NUMBER = re.compile(r"\*{3}[0-9]{0,4}")

Part = Raw | UnsetType


@dataclass(frozen=True, slots=True)
class Content:
    """What one message tells that is personal, and no more of it than the tenant keeps."""

    customer: str | None = field(default=None, repr=False)
    transcript: str | None = field(default=None, repr=False)
    summary: str | None = field(default=None, repr=False)


class Spoken(msgspec.Struct):
    """Where a report has its texts; in Vapi's own answer about a call they stand at the top level in the same way."""

    transcript: Part = UNSET
    summary: Part = UNSET
    artifact: Part = UNSET
    analysis: Part = UNSET


class SpokenMessage(msgspec.Struct):
    """The body of a report."""

    message: Spoken


MESSAGE, ANSWER = msgspec.json.Decoder(SpokenMessage), msgspec.json.Decoder(Spoken)


def content_of_status(caller: str | None, privacy: Privacy) -> Content:
    """A status update tells who was on the phone."""
    return Content(kept_number(caller, privacy))


def content_of_report(body: bytes, caller: str | None, privacy: Privacy) -> Content:
    """What a report tells; its texts are decoded only where the tenant keeps them.

    Raises:
        Invalid: the body cannot be read.
    """
    spoken = reread(MESSAGE, body).message if privacy.transcripts or privacy.summaries else Spoken()
    return content(spoken, caller, privacy)


def content_of_answer(body: bytes, caller: str | None, privacy: Privacy) -> Content:
    """What Vapi's answer about a call tells.

    Raises:
        Invalid: the body cannot be read.
    """
    return content(reread(ANSWER, body), caller, privacy)


def content(spoken: Spoken, caller: str | None, privacy: Privacy) -> Content:
    """As much as is kept."""
    return Content(
        kept_number(caller, privacy),
        words(spoken.transcript, spoken.artifact, "transcript") if privacy.transcripts else None,
        words(spoken.summary, spoken.analysis, "summary") if privacy.summaries else None,
    )


def kept_number(caller: str | None, privacy: Privacy) -> str | None:
    """The number, if it can be one and anything of it is kept."""
    return caller if caller and len(caller) <= LONGEST_NUMBER and privacy.customer != "none" else None


def words(own: Part, holder: Part, name: str) -> str | None:
    """A text at message level, else within its holder; an empty one tells nothing."""
    value = decoded(own)
    if not isinstance(value, str) or not value:
        held = decoded(holder)
        value = held.get(name) if isinstance(held, dict) else None
    return value[:LONGEST_TEXT] if isinstance(value, str) and value else None


def masked(number: str) -> str:
    """The last four digits of a number, behind three stars; nothing but the stars of a short one. What is masked stays so."""
    if MASKED_NUMBER.fullmatch(number):
        return number
    digits = [character for character in number if character in "0123456789"]
    return "***" + ("".join(digits[-SHOWN_DIGITS:]) if len(digits) >= FEWEST_DIGITS else "")


def sealed(keyring: Keyring, tenant: TenantId, told: Content, privacy: Privacy) -> dict[str, object]:
    """The fields as app.tell_call_v1 takes them."""
    fields: dict[str, object] = {}
    if told.customer is not None:
        whole = keyring.seal(told.customer, tenant, CUSTOMER) if privacy.customer == "encrypted" else None
        fields["customer"] = {"masked": masked(told.customer), "sealed": whole}
    if told.transcript is not None:
        fields["transcript"] = keyring.seal(packed(told.transcript), tenant, TRANSCRIPT)
    if told.summary is not None:
        fields["summary"] = keyring.seal(packed(told.summary), tenant, SUMMARY)
    return fields


def packed(text: str) -> str:
    """Compressed: what is sealed cannot be compressed any more."""
    return base64.b64encode(zlib.compress(text.encode(), LEVEL)).decode()


def unpacked(text: str) -> str:
    """What was packed."""
    return zlib.decompress(base64.b64decode(text)).decode()
