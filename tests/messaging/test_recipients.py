import subprocess
import sys

import phonenumbers
import pytest

from messaging.recipients import BadNumber, Recipient, parse


@pytest.mark.parametrize(
    ("raw", "default_region", "expected"),
    [
        ("+12135550123", None, Recipient("+12135550123", "US")),
        ("(213) 555-0123", "US", Recipient("+12135550123", "US")),
        ("213.555.0123", "US", Recipient("+12135550123", "US")),
        ("1 213 555 0123", "US", Recipient("+12135550123", "US")),
        (" +1 416 555 0123 ", None, Recipient("+14165550123", "CA")),
        ("416-555-0123", "US", Recipient("+14165550123", "CA")),
        ("+17875550123", None, Recipient("+17875550123", "PR")),
        ("+19395550123", None, Recipient("+19395550123", "PR")),
        ("+13405550123", None, Recipient("+13405550123", "VI")),
        ("+16715550123", None, Recipient("+16715550123", "GU")),
        ("+16845550123", None, Recipient("+16845550123", "AS")),  # the library calls this one invalid
        ("+16705550123", None, Recipient("+16705550123", "MP")),
        ("+18765550123", None, Recipient("+18765550123", "JM")),
        ("+18005550123", None, Recipient("+18005550123", "US")),
        ("888-555-0199", "US", Recipient("+18885550199", "US")),
        ("+15005550006", None, Recipient("+15005550006", "US")),  # Twilio's magic number must reach Twilio
        ("+44 20 7946 0018", None, Recipient("+442079460018", "GB")),
    ],
)
def test_numbers_as_people_write_them(raw: str, default_region: str | None, expected: Recipient) -> None:
    assert parse(raw, default_region) == expected


@pytest.mark.parametrize(
    ("raw", "default_region"),
    [
        ("12", "US"),
        ("", "US"),
        ("911", "US"),
        ("555-0123", "US"),  # no area code
        ("213-555-0123", None),  # no country
        ("+1213555012", None),
        ("+121355501234", None),
        ("+10135550123", None),
        ("+12130550123", None),
        ("+19115550123", None),
        ("+12935550123", None),
        ("(213) 555-0123 x5", "US"),
        ("whatsapp:+12135550123", None),
        ("1-800-FLOWERS", "US"),
        ("the number you have", "US"),
        ("2135550123, 2135550124", "US"),
        ("+44 20", None),
        ("+999 123456789", None),
        ("1" * 5000, "US"),
        ("\x00", "US"),
    ],
)
def test_what_is_no_number_is_refused_in_one_sentence(raw: str, default_region: str | None) -> None:
    with pytest.raises(BadNumber) as refused:
        parse(raw, default_region)
    sentence = str(refused.value)
    assert sentence[0].isupper()
    assert sentence.endswith(".")
    assert sentence.count(".") == 1
    assert not any(character.isdigit() for character in sentence)


def test_our_area_codes_agree_with_the_library_on_every_area() -> None:
    for area in range(200, 1000):
        theirs = phonenumbers.region_code_for_number(phonenumbers.parse(f"+1{area}2340123"))
        if theirs is not None:
            assert parse(f"+1{area}2340123", None).region == theirs, f"area code {area}: update area_codes.json"


def test_the_geocoder_is_never_loaded() -> None:
    program = "import sys, messaging.recipients; print(any('geocod' in name or 'geodata' in name for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip() == "False"  # noqa: S603  our own interpreter
