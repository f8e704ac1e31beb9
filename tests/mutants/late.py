"""Breaking what is asked of Vapi about calls that never reported."""

from tests.mutants.mutation import Mutation, mutation

LATE = "tests/late"

MUTATIONS: tuple[Mutation, ...] = (
    mutation(
        "an answer from Vapi is another line on the bill",
        "migrations/sql/0003/60_calls.sql",
        "'call:' || c.call_id, u.quantity, v_at, p_now",
        "CASE p_heard WHEN p_now THEN 'call:' ELSE 'late:' END || c.call_id, u.quantity, v_at, p_now",
        f"{LATE}/test_late_calls.py::test_report_and_answer_in_any_order_are_one_bill",
    ),
    mutation(
        "the operator's key shows another's call",
        "webhooks/late_calls.py",
        "if not key.own and not await self._ours_alone(one.tenant, assistant):",
        "if False:",
        f"{LATE}/test_whose_key.py::test_with_the_operators_key_nobody_learns_of_anothers_call",
    ),
)
