"""Plans: what tenants are charged. A change is a new version; whoever subscribed to an earlier one keeps it."""

from decimal import Decimal
from typing import Annotated

from litestar import Controller, get, post
from litestar.datastructures import State
from litestar.params import JSONBody
from msgspec import Meta

from api.callers import ADMIN
from api.pages import Page
from api.routes.shapes import Body
from api.wiring import wiring_of
from billing import plans
from billing.money import Money, decimal_text, price
from billing.plan_terms import Price
from tenants import audit

Number = Annotated[Decimal, Meta(description="Exact; write it as text to keep every digit.", examples=["0.02"])]


class NewPrice(Body):
    """Of a meter `included` units are free in each period; beyond them `per` units cost `unit_price`."""

    meter: str
    unit_price: Number
    included: Number = Decimal(0)
    per: Number = Decimal(1)


class NewPlan(Body):
    """A plan, or the next version of one."""

    name: str
    currency: str
    base_fee: Number
    prices: list[NewPrice]


class ShownPrice(Body):
    """One price of a plan."""

    meter: str
    included: str
    unit_price: Money
    per: str


class ShownPlan(Body):
    """One version of a plan."""

    name: str
    version: int
    currency: str
    base_fee: Money
    prices: list[ShownPrice]


class PlanAdmin(Controller):
    """`/v1/admin/plans`."""

    path = "/v1/admin/plans"
    tags = ("Admin",)

    @post(summary="Make a plan or its next version")
    async def create(self, data: JSONBody[NewPlan], state: State) -> ShownPlan:
        """Store it; it never changes."""
        prices = [Price(each.meter, each.included, each.unit_price, each.per) for each in data.prices]
        async with wiring_of(state).database.unscoped() as connection:  # unscoped: plans stand in the schema control
            made = await plans.create_plan(connection, data.name, data.currency, data.base_fee, prices)
            await audit.record(connection, ADMIN, "plan.created", None, f"{made.name} {made.version}")
        return shown(made)

    @get(summary="List plans")
    async def list(self, state: State) -> Page[ShownPlan]:
        """Every version."""
        async with wiring_of(state).database.unscoped() as connection:  # unscoped: plans stand in the schema control
            return Page([shown(plan) for plan in await plans.list_plans(connection)])


def shown(plan: plans.Plan) -> ShownPlan:
    """A plan as the contract has it."""
    listed = [ShownPrice(p.meter, decimal_text(p.included), price(p.unit_price, plan.currency), decimal_text(p.per)) for p in plan.prices]
    return ShownPlan(plan.name, plan.version, plan.currency, price(plan.base_fee, plan.currency), listed)
