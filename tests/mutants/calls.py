"""Breaking that a call's record and bill are a function of the set of its messages."""

from tests.mutants.mutation import Mutation, mutation

RECORDS = "migrations/sql/0003/60_calls.sql"
ANY_ORDER = "tests/calls/test_any_order.py::test_a_call_is_what_its_messages_tell_in_any_order"
FORGOTTEN = "tests/api/test_privacy.py::test_one_call_is_forgotten_for_good"

MUTATIONS: tuple[Mutation, ...] = (
    mutation(
        "who tells a field first keeps it",
        RECORDS,
        'OR p_standing COLLATE "C" > coalesce(\n      c.told',
        "OR 'x' < coalesce(\n      c.told",
        ANY_ORDER,
    ),
    mutation("a figure that changes is not corrected on the bill", RECORDS, "WHERE u.quantity <> 0;", "WHERE false;", ANY_ORDER),
    mutation(
        "what was forgotten comes back when it is told again",
        RECORDS,
        "THEN c.forgotten_at IS NULL AND p_standing",
        "THEN p_standing",
        FORGOTTEN,
    ),
    mutation(
        "a report of the same time is decided by who was first",
        "webhooks/call_records.py",
        "{facts.said_ms:012x}{mark(facts, content, assistant_id, keyring)}",
        "{facts.said_ms:012x}",
        ANY_ORDER,
    ),
    mutation(
        "a number is kept in clear",
        "webhooks/call_contents.py",
        'keyring.seal(told.customer, tenant, CUSTOMER) if privacy.customer == "encrypted" else None',
        "told.customer",
        "tests/api/test_privacy.py::test_as_much_is_kept_as_the_setting_says",
    ),
)
