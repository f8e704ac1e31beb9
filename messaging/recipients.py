"""Who a text may go to: a phone number in E.164 and the country that it belongs to."""

import json
import re
from pathlib import Path

import msgspec
import phonenumbers
from phonenumbers import PhoneNumber, ValidationResult

_REGIONS: dict[str, list[int]] = json.loads((Path(__file__).parent / "area_codes.json").read_text("utf-8"))["regions"]
_REGION_OF_AREA = {str(area): region for region, areas in _REGIONS.items() for area in areas}
_NANP = re.compile(r"[2-9](?!11)[0-8]\d[2-9]\d{6}")  # area code, exchange, line; x11 are services, x9x is kept for expansion
_E164_NANP = re.compile(r"\+1([0-9]{10})")
_LONGEST_INPUT = 40


class BadNumber(ValueError):
    """What was given is no phone number that can get a text; the message is one sentence fit to be spoken, without the number."""


class Recipient(msgspec.Struct, frozen=True):
    """A number as Twilio wants it (`+12135550123`) and its ISO 3166 region (`US`, `CA`, `PR`, …)."""

    e164: str
    region: str


def parse(raw: str, default_region: str | None) -> Recipient:
    """Read a number as a person or a model writes it; `default_region` is assumed where it carries no country code.

    Numbers that could exist pass, assigned or not (so the fictional 555-01xx do): Twilio knows better and says so (21211).
    Raises BadNumber.
    """
    if plain := _E164_NANP.fullmatch(raw):  # the usual form, without the library's general reader
        return Recipient(raw, _north_american_region(plain[1]))
    number = _read(raw, default_region)
    national = phonenumbers.national_significant_number(number)
    if number.country_code == 1:
        return Recipient(f"+1{national}", _north_american_region(national))
    if phonenumbers.is_possible_number_with_reason(number) != ValidationResult.IS_POSSIBLE:
        raise BadNumber("That phone number does not have the right number of digits for its country.")
    return Recipient(f"+{number.country_code}{national}", _region(number))


def _read(raw: str, default_region: str | None) -> PhoneNumber:
    if len(raw) > _LONGEST_INPUT:
        raise BadNumber("That is too long to be a phone number.")
    if any(character.isalpha() or character in "@:;," for character in raw):
        raise BadNumber("A phone number must be given in digits only, without letters or an extension.")
    try:
        return phonenumbers.parse(raw, default_region)
    except phonenumbers.NumberParseException as error:
        raise BadNumber(_what_is_wrong(error)) from None


def _what_is_wrong(error: phonenumbers.NumberParseException) -> str:
    if error.error_type == phonenumbers.NumberParseException.INVALID_COUNTRY_CODE:
        return "That phone number needs its country code, beginning with a plus sign."
    return "That does not look like a phone number."


def _region(number: PhoneNumber) -> str:
    """Of a number outside +1; `001` (the world) where its country code belongs to no country."""
    country_code = number.country_code or 0
    return phonenumbers.region_code_for_number(number) or phonenumbers.region_code_for_country_code(country_code)


def _north_american_region(national: str) -> str:
    """The region by area code; the library's own answer needs a number it believes in, which 555-01xx is not everywhere."""
    if len(national) != len("2135550123"):
        raise BadNumber("That phone number needs ten digits, area code first.")
    if not _NANP.fullmatch(national):
        raise BadNumber("That phone number has an area code or exchange that does not exist.")
    return _REGION_OF_AREA.get(national[:3], "US")
