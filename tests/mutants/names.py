"""Breaking the identity of an effect: what is part of a key, and what must not be."""

from tests.mutants.mutation import Edit, Mutation, mutation

KEYS = "webhooks/keys.py"
TEST = "tests/webhooks/test_keys.py"
DISTINCT = f"{TEST}::test_every_kind_and_every_id_has_a_key_of_its_own"

MUTATIONS: tuple[Mutation, ...] = (
    Mutation(
        "report and status of a call share a key",
        (
            Edit(KEYS, 'return digest("end-of-call-report", call_id)', 'return digest("call", call_id)'),
            Edit(KEYS, 'return digest("status-update", call_id, status)', 'return digest("call", call_id)'),
        ),
        ("tests/api/test_once_calls.py::test_a_status_after_the_report_does_not_open_the_call_again", "tests/api/test_payloads.py"),
    ),
    mutation(
        "a function call has the key of a tool call",
        KEYS,
        'return digest("function-call", tool_call_key(call_id, own_id, name, arguments, body))',
        "return tool_call_key(call_id, own_id, name, arguments, body)",
        DISTINCT,
    ),
    mutation(
        "the type of an informational message is no part of its key",
        KEYS,
        'digest("information", kind, subject, timestamp, own_fields)',
        'digest("information", subject, timestamp, own_fields)',
        DISTINCT,
    ),
    mutation(
        "the tool's name is no part of the key",
        KEYS,
        'return digest("tool-call", call_id, own, name, None if own',
        'return digest("tool-call", call_id, own, None if own',
        "tests/api/test_once.py::test_the_same_id_of_another_tool_or_call_is_another_effect",
    ),
    mutation(
        "the call is no part of the key",
        KEYS,
        'return digest("tool-call", call_id, own, name, None if own',
        'return digest("tool-call", own, name, None if own',
        "tests/api/test_once.py::test_the_same_id_of_another_tool_or_call_is_another_effect",
    ),
    mutation(
        "the constant id of hooks is an id like any other",
        KEYS,
        'CONSTANT_IDS = {"hook-function-call"}',
        "CONSTANT_IDS: set[str] = set()",
        "tests/api/test_once.py::test_calls_of_hooks_which_share_an_id_are_told_apart_by_their_arguments",
    ),
    mutation(
        "addresses that are signed anew make another request",
        KEYS,
        "return QUERY.sub(unsigned, raw, count=MOST_SIGNED) if signed else raw",
        "return raw",
        f"{TEST}::test_an_address_that_is_signed_anew_is_the_same_address",
    ),
    mutation(
        "what changes between retries makes another message",
        KEYS,
        '    "presignedUrlsExpiresAt",\n',
        "",
        f"{TEST}::test_a_retry_that_differs_in_what_it_carries_along_is_the_same_message",
    ),
    mutation(
        "the order of arguments makes another request",
        KEYS,
        'msgspec.json.encode(value, order="deterministic")',
        "msgspec.json.encode(value)",
        f"{TEST}::test_the_order_of_keys_is_no_difference",
    ),
    mutation(
        "the wish is no part of a replay's key",
        KEYS,
        'digest("replay", original, again)',
        'digest("replay", original)',
        "tests/api/test_replay.py::test_a_wish_with_a_key_is_granted_once",
    ),
)
