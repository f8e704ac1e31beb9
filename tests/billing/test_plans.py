import asyncio
from decimal import Decimal
from uuid import uuid4

import pytest

from billing.plan_terms import Price, check_terms
from billing.plans import Plan, UnknownPlan, create_plan, latest_plan, list_plans, plan_by_id
from runtime.database import Database
from runtime.refusals import Invalid

SECONDS = Price("call_seconds", Decimal(600), Decimal("0.15"), Decimal(60))
TEXTS = Price("sms_segments_out", Decimal(0), Decimal("0.0079"))


def a_name() -> str:
    return f"plan-{uuid4().hex}"


async def store(database: Database, name: str, *prices: Price, base_fee: Decimal = Decimal("19.90")) -> Plan:
    async with database.unscoped() as connection:
        return await create_plan(connection, name, "USD", base_fee, prices)


async def test_the_seeded_plan_is_there(database: Database) -> None:
    async with database.unscoped() as connection:
        standard = await latest_plan(connection, "standard")
    assert standard.currency == "USD"
    assert [price.meter for price in standard.prices][:1] == ["call_seconds"]


async def test_a_plan_comes_back_as_it_was_made(database: Database) -> None:
    name = a_name()
    made = await store(database, name, TEXTS, SECONDS)
    assert (made.name, made.version, made.currency, made.base_fee) == (name, 1, "USD", Decimal("19.90"))
    assert made.prices == (SECONDS, TEXTS)
    async with database.unscoped() as connection:
        assert await latest_plan(connection, name) == made
        assert await plan_by_id(connection, made.id) == made


async def test_a_change_is_a_new_version_and_the_old_one_stays(database: Database) -> None:
    name = a_name()
    first = await store(database, name, SECONDS)
    second = await store(database, name, TEXTS, base_fee=Decimal(0))
    bare = await store(database, name)
    assert (first.version, second.version, bare.version, bare.prices) == (1, 2, 3, ())
    async with database.unscoped() as connection:
        assert await latest_plan(connection, name) == bare
        assert await plan_by_id(connection, first.id) == first
        assert [plan for plan in await list_plans(connection) if plan.name == name] == [bare, second, first]


async def test_authors_at_once_get_versions_in_a_row(database: Database) -> None:
    name = a_name()
    made = await asyncio.gather(*(store(database, name, SECONDS) for _ in range(6)))
    assert sorted(plan.version for plan in made) == [1, 2, 3, 4, 5, 6]


async def test_a_name_without_a_plan_is_refused(database: Database) -> None:
    with pytest.raises(UnknownPlan) as refused:
        async with database.unscoped() as connection:
            await latest_plan(connection, "no-such-plan")
    assert refused.value.status == 400
    assert refused.value.errors[0][0] == "/plan"


@pytest.mark.parametrize(
    ("name", "currency", "base_fee", "pointer"),
    [
        ("Two Words", "USD", "1", "/name"),
        ("x" * 64, "USD", "1", "/name"),
        ("x\n", "USD", "1", "/name"),
        ("x", "usd", "1", "/currency"),
        ("x", "ZZZ", "1", "/currency"),
        ("x", "USD", "-0.01", "/base_fee"),
        ("x", "USD", "NaN", "/base_fee"),
        ("x", "USD", "Infinity", "/base_fee"),
        ("x", "USD", "1E+12", "/base_fee"),
        ("x", "USD", "1E-13", "/base_fee"),
    ],
)
def test_terms_that_could_not_be_charged_are_refused(name: str, currency: str, base_fee: str, pointer: str) -> None:
    with pytest.raises(Invalid) as refused:
        check_terms(name, currency, Decimal(base_fee), [])
    assert [where for where, _ in refused.value.errors] == [pointer]


@pytest.mark.parametrize(
    ("prices", "pointers"),
    [
        ([Price("miles", Decimal(0), Decimal(1))], ["/prices/0/meter"]),
        ([SECONDS, SECONDS], ["/prices/1/meter"]),
        (
            [TEXTS, Price("calls", Decimal(-1), Decimal("NaN"), Decimal(0))],
            [f"/prices/1/{name}" for name in ("included", "unit_price", "per")],
        ),
    ],
)
async def test_a_price_that_could_not_be_charged_is_refused_and_nothing_stored(
    database: Database, prices: list[Price], pointers: list[str]
) -> None:
    name = a_name()
    with pytest.raises(Invalid) as refused:
        await store(database, name, *prices)
    assert [where for where, _ in refused.value.errors] == pointers
    async with database.unscoped() as connection:
        assert name not in [plan.name for plan in await list_plans(connection)]
