"""Breaking what the tools do to texts that are there already, and what they make of a phrase."""

from tests.mutants.mutation import Mutation, mutation

TOOLS = "migrations/sql/0003/50_tools.sql"
ACTING = "tests/api/test_acting_tools.py"
NEWEST = """t.call_id BETWEEN p_call AND p_call AND t.recipient = p_recipient AND t.status = ANY (p_waiting)
    ORDER BY t.call_id DESC, t.id DESC LIMIT 1 FOR UPDATE;"""

MUTATIONS: tuple[Mutation, ...] = (
    mutation(
        "a text to somebody else is cancelled",
        TOOLS,
        NEWEST,
        NEWEST.replace("AND t.recipient = p_recipient ", ""),
        f"{ACTING}::test_the_newest_waiting_text_to_the_caller_is_cancelled_and_only_it",
    ),
    mutation(
        "a round trip whose answer was lost is done again",
        TOOLS,
        "AND (e.detail = p_note OR (e.detail LIKE",
        "AND (false OR (e.detail <> p_note AND e.detail LIKE",
        f"{ACTING}::test_a_round_trip_whose_answer_was_lost_acts_once",
    ),
    mutation(
        "a repeated delivery acts again",
        TOOLS,
        "IF p_mode = 'enforce' OR p.mine THEN",
        "IF p.mine THEN",
        f"{ACTING}::test_a_repeated_delivery_cancels_no_more_and_says_the_same",
    ),
    mutation(
        "two ids of one cancellation do not meet",
        TOOLS,
        "AND e.at > v_now - make_interval(secs => p_same_within)",
        "AND e.at > v_now",
        f"{ACTING}::test_asked_for_again_at_once_under_another_id_it_is_one_cancellation",
    ),
    mutation(
        "what waits for somebody who opted out stays",
        TOOLS,
        "t.recipient = p_recipient AND t.status = ANY (p_waiting)\n    ORDER BY t.id FOR UPDATE SKIP LOCKED",
        "t.recipient = p_recipient AND false\n    ORDER BY t.id FOR UPDATE SKIP LOCKED",
        f"{ACTING}::test_whoever_opts_out_is_texted_no_more_by_this_tenant",
    ),
    mutation(
        "instants are compared by what the clocks show",
        "webhooks/dates/resolve.py",
        "Asked(moment.astimezone(UTC), zone",
        "Asked(moment.astimezone(zone), zone",
        "tests/webhooks/test_dates.py::test_a_time_that_the_clocks_skip_or_repeat_is_told",
    ),
)
