"""Breaking the reader: shapes, the one list, what a huge body may cost, and what is kept of a body."""

from tests.mutants.mutation import Mutation, mutation

CALLS = "webhooks/tool_calls.py"
SECRETS = "webhooks/secrets_in_bodies.py"
SHAPES = "tests/webhooks/test_tool_calls.py"
DOOR = "tests/api/test_every_shape.py::test_every_shape_is_answered_call_by_call_and_done_once"
PLANTED = "tests/webhooks/test_secrets_in_bodies.py"

MUTATIONS: tuple[Mutation, ...] = (
    mutation(
        "a hook's schema is taken for its arguments",
        CALLS,
        "given = hook_values(read) if each.id in CONSTANT_IDS else read",
        "given = read",
        f"{SHAPES}::test_a_hook_gives_its_arguments_as_the_values_of_their_schema",
        DOOR,
    ),
    mutation(
        "any tool's arguments are read as a hook's",
        CALLS,
        "given = hook_values(read) if each.id in CONSTANT_IDS else read",
        "given = hook_values(read)",
        f"{SHAPES}::test_only_a_hook_is_read_so",
    ),
    mutation(
        "a definition's schema is taken for the arguments",
        CALLS,
        "places = (function.arguments, item.arguments, item.parameters, function.parameters)",
        "places = (function.parameters, function.arguments, item.arguments, item.parameters)",
        f"{SHAPES}::test_every_shape_is_one_call",
        DOOR,
    ),
    mutation(
        "a list that is none hides the next",
        CALLS,
        "            unread = unread or name\n            continue\n",
        "            return []\n",
        f"{SHAPES}::test_every_shape_is_one_call",
        DOOR,
    ),
    mutation(
        "arguments have no end",
        CALLS,
        "if size > min(LONGEST_ARGUMENTS, room):",
        "if size < 0:",
        f"{SHAPES}::test_arguments_and_names_without_end_are_answered_and_not_run",
    ),
    mutation(
        "letters are taken for half a character",
        "webhooks/mending.py",
        "found[0] if found[1] or escaped else",
        "found[0] if found[1] else",
        "tests/webhooks/test_envelope.py::test_half_a_character_is_replaced_and_the_rest_stays",
    ),
    mutation(
        "every signed address of a body is looked at",
        "webhooks/keys.py",
        "QUERY.sub(unsigned, raw, count=MOST_SIGNED)",
        "QUERY.sub(unsigned, raw)",
        "tests/webhooks/test_keys.py::test_so_many_signed_addresses_are_looked_at_and_no_more",
    ),
    mutation(
        "a SIP message keeps its headers",
        SECRETS,
        "    if SIP.match(text):\n        return sip_message(text)\n",
        "",
        f"{PLANTED}::test_a_sip_message_leaves_the_names_of_its_headers",
    ),
    mutation(
        "SIP headers are kept where they surface as variables",
        SECRETS,
        'HEADERS = re.compile(r"headers?$|^variablevalues$")',
        'HEADERS = re.compile(r"headers?$")',
        f"{PLANTED}::test_a_sip_message_leaves_the_names_of_its_headers",
    ),
    mutation(
        "bodies are kept as they came",
        "webhooks/bodies.py",
        "redacted_document(msgspec.json.decode(body))",
        "msgspec.json.decode(body)",
        "tests/api/test_nothing_private_is_kept.py::test_a_fault_tells_its_place_and_keeps_its_body_without_what_was_planted",
    ),
)
