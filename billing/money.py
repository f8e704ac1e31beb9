"""Money as the HTTP contract writes it. Amounts are whole minor units, prices exact decimals; nothing here is a float."""

from decimal import Decimal
from fractions import Fraction
from math import floor

from msgspec import Struct

# ISO 4217: the currencies in use and their decimals; how a payment provider counts them is that provider's matter.
_NONE = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_TWO = """
    AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY COP CRC CUP CVE CZK DKK DOP DZD
    EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL
    MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR
    SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VES WST XCD XCG YER ZAR ZMW ZWG
"""
_THREE = "BHD IQD JOD KWD LYD OMR TND"
_FOUR = "CLF UYW"
MINOR_DIGITS = {
    currency: digits for digits, currencies in ((0, _NONE), (2, _TWO), (3, _THREE), (4, _FOUR)) for currency in currencies.split()
}


class Money(Struct, frozen=True):
    """An amount as a decimal string, and its ISO 4217 currency: `{"amount": "12.34", "currency": "USD"}`."""

    amount: str
    currency: str


def rounded_half_up(exact: Fraction, currency: str) -> int:
    """An amount of zero or more in whole minor units; a half is rounded up (billing rounds once per line, never later)."""
    minor: int = 10 ** MINOR_DIGITS[currency]
    return floor(exact * minor + Fraction(1, 2))


def money(minor: int, currency: str) -> Money:
    """An amount given in minor units: 1234 cents are 12.34 USD, 1234 yen are 1234 JPY."""
    digits = MINOR_DIGITS[currency]
    whole, part = divmod(abs(minor), 10**digits)
    amount = f"{whole}.{part:0{digits}}" if digits else f"{whole}"
    return Money(f"-{amount}" if minor < 0 else amount, currency)


def price(exact: Decimal, currency: str) -> Money:
    """A price with all its decimals, and at least those of its currency: 0.10 USD, 0.0079 USD."""
    whole, _, decimals = decimal_text(exact).partition(".")
    decimals = decimals.ljust(MINOR_DIGITS[currency], "0")
    return Money(f"{whole}.{decimals}" if decimals else whole, currency)


def decimal_text(exact: Decimal) -> str:
    """A number as the HTTP contract writes quantities: no exponent, no trailing zeros, no negative zero: `58.72`, `12`, `0`."""
    if not exact:
        return "0"
    written = format(exact, "f")
    return written.rstrip("0").rstrip(".") if "." in written else written
