from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.money import MINOR_DIGITS, Money, decimal_text, money, price, rounded_half_up


@pytest.mark.parametrize(
    ("minor", "currency", "amount"),
    [
        (1234, "USD", "12.34"),
        (5, "USD", "0.05"),
        (0, "USD", "0.00"),
        (-5, "USD", "-0.05"),
        (1234, "JPY", "1234"),
        (1234, "KWD", "1.234"),
        (1234, "CLF", "0.1234"),
        (10**40 + 1, "USD", f"1{'0' * 38}.01"),
    ],
)
def test_an_amount_has_the_minor_units_of_its_currency(minor: int, currency: str, amount: str) -> None:
    assert money(minor, currency) == Money(amount, currency)


@pytest.mark.parametrize(
    ("exact", "currency", "amount"),
    [("0.12", "USD", "0.12"), ("0.0079", "USD", "0.0079"), ("0.10", "USD", "0.10"), ("49", "USD", "49.00"), ("3E+4", "JPY", "30000")],
)
def test_a_price_keeps_its_decimals(exact: str, currency: str, amount: str) -> None:
    assert price(Decimal(exact), currency) == Money(amount, currency)


@pytest.mark.parametrize(
    ("exact", "written"),
    [
        ("58.72", "58.72"),
        ("12", "12"),
        ("12.00", "12"),
        ("3E+4", "30000"),
        ("1E-9", "0.000000001"),
        ("0.00", "0"),
        ("-0.0", "0"),
        ("-1.50", "-1.5"),
        ("0.0712345678901234567", "0.0712345678901234567"),
        ("100", "100"),
    ],
)
def test_a_quantity_has_no_exponent_and_no_trailing_zeros(exact: str, written: str) -> None:
    assert decimal_text(Decimal(exact)) == written


@pytest.mark.parametrize(
    ("exact", "currency", "minor"),
    [
        ("0.125", "USD", 13),  # bankers would say 12
        ("0.1249999999999999999999999999999999", "USD", 12),
        ("2.5", "JPY", 3),
        ("0.0005", "KWD", 1),
    ],
)
def test_a_half_is_rounded_up(exact: str, currency: str, minor: int) -> None:
    assert rounded_half_up(Fraction(exact), currency) == minor


@given(st.fractions(min_value=0, max_value=10**9), st.sampled_from(sorted(MINOR_DIGITS)))
def test_rounding_moves_an_amount_by_half_a_minor_unit_at_most(exact: Fraction, currency: str) -> None:
    rounded = Fraction(rounded_half_up(exact, currency), 10 ** MINOR_DIGITS[currency])
    half = Fraction(1, 2 * 10 ** MINOR_DIGITS[currency])
    assert -half < rounded - exact <= half


@given(st.decimals(allow_nan=False, allow_infinity=False, places=9))
def test_a_written_quantity_is_the_same_number(exact: Decimal) -> None:
    written = decimal_text(exact)
    assert Decimal(written) == exact
    assert "E" not in written.upper()
    assert written == written.strip()
