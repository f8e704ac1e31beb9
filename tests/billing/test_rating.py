from decimal import ROUND_HALF_UP, Context, Decimal, localcontext
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.meters import METERS
from billing.plan_terms import Price
from billing.plans import Plan
from billing.rating import rate, rated
from runtime import clock


def plan_of(*prices: Price, currency: str = "USD", base_fee: str = "0") -> Plan:
    return Plan(uuid4(), "tested", 1, currency, Decimal(base_fee), prices, clock.now())


def price_of(meter: str, included: str, unit_price: str, per: str) -> Price:
    return Price(meter, Decimal(included), Decimal(unit_price), Decimal(per))


@pytest.mark.parametrize(
    ("price", "quantity", "billable", "cents"),
    [
        (price_of("call_seconds", "30000", "0.12", "60"), "29999.99", "0", 0),
        (price_of("call_seconds", "30000", "0.12", "60"), "30000", "0", 0),
        (price_of("call_seconds", "30000", "0.12", "60"), "30058.72", "58.72", 12),  # 11.744 cents
        (price_of("call_seconds", "0", "0.12", "60"), "181", "181", 36),  # 61, 1 and 119 s, summed before anything is rounded: 36.2 cents
        (price_of("sms_segments_out", "500", "0.02", "1"), "750", "250", 500),
        (price_of("sms_segments_out", "0", "0.0079", "1"), "1", "1", 1),  # 0.79 cents
        (price_of("sms_segments_out", "0", "0.0050", "1"), "1", "1", 1),  # half a cent
        (price_of("sms_segments_out", "0", "0.0049", "1"), "1", "1", 0),
        (price_of("calls", "0", "1", "3"), "2", "2", 67),
        (price_of("vapi_cost_usd", "0", "1.10", "1"), "0.0712345678901234567", "0.0712345678901234567", 8),  # at cost and ten percent
        (price_of("sms_segments_out", "0", "0.02", "1"), "-3", "0", 0),  # corrections of an earlier period
        (price_of("sms_segments_out", "0", "0", "1"), "1000000", "1000000", 0),
    ],
)
def test_included_units_are_free_and_the_rest_has_a_price(price: Price, quantity: str, billable: str, cents: int) -> None:
    line = rated(price, Decimal(quantity), "USD")
    assert (line.billable, line.amount) == (Decimal(billable), cents)


def test_the_base_fee_comes_first_then_each_priced_meter_used_or_not() -> None:
    plan = plan_of(Price("call_seconds", Decimal(0), Decimal(1)), Price("sms_segments_out", Decimal(0), Decimal(1)), base_fee="49.00")
    lines = rate(plan, {"sms_segments_out": Decimal(2), "tool_calls": Decimal(9)})
    assert [(line.meter, line.quantity, line.amount) for line in lines] == [
        (None, Decimal(1), 4900),
        ("call_seconds", Decimal(0), 0),
        ("sms_segments_out", Decimal(2), 200),
    ]


@pytest.mark.parametrize(("currency", "amount"), [("USD", 1235), ("JPY", 12), ("KWD", 12346)])
def test_a_line_is_rounded_to_the_minor_units_of_its_currency(currency: str, amount: int) -> None:
    assert rated(Price("calls", Decimal(0), Decimal("12.3456")), Decimal(1), currency).amount == amount


def test_a_quantity_of_many_digits_is_not_cut() -> None:
    quantity = Decimal("123456789012345678901234567890.000000000000000001")
    assert rated(Price("calls", Decimal(1), Decimal(1)), quantity, "USD").billable == Decimal(
        "123456789012345678901234567889.000000000000000001"
    )


numbers = st.decimals(min_value=0, max_value=10**9, places=6)
quantities = st.decimals(min_value=-(10**9), max_value=10**9, places=6)
pers = st.decimals(min_value="0.001", max_value=10**5, places=3)


@given(st.lists(st.builds(Price, st.sampled_from(sorted(METERS)), numbers, numbers, pers), unique_by=lambda price: price.meter), st.data())
def test_no_line_is_negative_and_each_is_the_exact_amount_rounded_once(prices: list[Price], data: st.DataObject) -> None:
    usage = {price.meter: data.draw(quantities) for price in prices}
    lines = rate(plan_of(*prices), usage)[1:]
    assert [line.meter for line in lines] == [price.meter for price in prices]
    for line, price in zip(lines, prices, strict=True):
        assert line.amount >= 0
        assert line.billable >= 0
        assert line.billable == max(Decimal(0), usage[price.meter] - price.included)
        with localcontext(Context(prec=80)):
            exact = line.billable * price.unit_price * 100 / price.per
            assert line.amount == exact.quantize(Decimal(1), ROUND_HALF_UP)


@given(numbers, numbers, st.builds(Price, st.just("calls"), numbers, numbers, pers))
def test_more_usage_never_costs_less(one: Decimal, other: Decimal, price: Price) -> None:
    less, more = sorted((one, other))
    assert rated(price, less, "USD").amount <= rated(price, more, "USD").amount
