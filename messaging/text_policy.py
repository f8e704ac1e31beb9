"""Whether a text that a model asks for is one its tenant lets it send. No I/O; how many there are is counted by app.accept_v3."""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Literal
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import phonenumbers
from phonenumbers import PhoneNumberType

from messaging import links, recipients
from messaging.acceptance import MOST_CHARACTERS
from tenants.snapshot import Snapshot
from tenants.text_policy import TextPolicy

CALL_FULL = "I have sent as many texts as I can in one call."
RECIPIENT_FULL = "That number has got as many texts as it can get today."
ONLY_CALLER = "I can only text the number you are calling from."
ONLY_HERE = "I can only text the number you are calling from, or numbers in this country."
ONLY_LISTED = "I cannot text numbers in that country."
NO_PREMIUM = "I cannot text premium-rate or special-service numbers."
NO_LINK = "I cannot send a text with that link. I can send it without the link."

UNITED_STATES = frozenset({"US", "PR", "VI", "GU", "AS", "MP"})  # its territories are one with it: domestic for carriers and for people
# Billed to who texts them, or at a price of their own; personal numbers (+44 70) too: they cost as premium ones do.
DEAR = frozenset({PhoneNumberType.PREMIUM_RATE, PhoneNumberType.SHARED_COST, PhoneNumberType.PERSONAL_NUMBER})
NOBODYS_COUNTRY = "001"  # +870, +881, +882, +979 and the like: satellites and international services, the classics of pumping
# Area codes 900 and 5xx (personal communications, not 520: Arizona), and the exchange 976 anywhere: the library knows only some.
DEAR_NORTH_AMERICAN = re.compile(r"\+1(?:900|5(?:00|2[1-9]|33|44|66|77|88)|[2-9]\d\d976)\d+")

CLOCKS_APART = timedelta(minutes=10)

Reason = Literal["destination", "premium", "link"]


class Refused(msgspec.Struct, frozen=True):
    """Why, for the count, and in one sentence fit to be spoken."""

    reason: Reason
    sentence: str


def refusal(tenant: Snapshot, caller: str | None, to: str, body: str) -> Refused | None:
    """What is wrong with a text by the tenant's policy; nothing where its number or body cannot be read: others say so."""
    policy = tenant.text_policy
    try:
        recipient = recipients.parse(to, "US")
    except recipients.BadNumber:
        return None
    if is_dear(recipient.e164, recipient.region):
        return Refused("premium", NO_PREMIUM)
    if (sentence := destination_fault(tenant, caller, recipient)) is not None:
        return Refused("destination", sentence)
    if policy.link_hosts is not None and len(body) <= MOST_CHARACTERS and links.strangers(body, policy.link_hosts):
        return Refused("link", NO_LINK)
    return None


def destination_fault(tenant: Snapshot, caller: str | None, recipient: recipients.Recipient) -> str | None:
    """Why this number may not be texted, None where it may."""
    policy = tenant.text_policy
    match policy.destinations:
        case "anyone":
            return None
        case "countries":
            return None if home(recipient.region) in {home(country) for country in policy.countries} else ONLY_LISTED
        case "caller":
            return None if is_caller(caller, recipient.e164) else ONLY_CALLER
        case "caller_or_country":
            own = home(recipient.region) == home(country_of(tenant, policy))
            return None if own or is_caller(caller, recipient.e164) else ONLY_HERE


def is_caller(caller: str | None, e164: str) -> bool:
    """Whether it is the number on the phone."""
    try:
        return caller is not None and recipients.parse(caller, "US").e164 == e164
    except recipients.BadNumber:
        return False


def country_of(tenant: Snapshot, policy: TextPolicy) -> str:
    """The tenant's country: of its default sender's number; a short code and a Messaging Service tell none."""
    sender = tenant.default_sender
    number = sender.from_number if sender is not None else None
    return (region_of(number) if number is not None and number.startswith("+") else None) or policy.country or "US"


@lru_cache(maxsize=4_096)
def region_of(number: str) -> str | None:
    """The region of a sender's number."""
    try:
        return recipients.parse(number, None).region
    except recipients.BadNumber:
        return None


def home(region: str) -> str:
    """The region, with the territories of the United States as one with them."""
    return "US" if region in UNITED_STATES else region


def is_dear(e164: str, region: str) -> bool:
    """Whether texting it may cost more than a text: never done, whatever the policy.

    Numbers of companies (UAN) and pagers are not among them: they cost what others do.
    """
    if e164.startswith("+1"):
        return DEAR_NORTH_AMERICAN.fullmatch(e164) is not None
    return region == NOBODYS_COUNTRY or is_dear_abroad(e164)


@lru_cache(maxsize=4_096)
def is_dear_abroad(e164: str) -> bool:
    """By the library's data of the number's country."""
    return phonenumbers.number_type(phonenumbers.parse(e164, None)) in DEAR


def day_from(zone: ZoneInfo, moment: datetime) -> datetime:
    """When the day of a moment began in a zone; where midnight is skipped, its first minute."""
    local = moment.astimezone(zone)
    return local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0).astimezone(UTC)


@lru_cache(maxsize=256)
def since_id(begins: datetime) -> UUID:
    """The first id that a text of a day may have: ids are of our clocks, days of the database's, and ten minutes are room for both."""
    return UUID(int=int((begins - CLOCKS_APART).timestamp() * 1000) << 80)
