"""Breaking the tenant API's own Idempotency-Key."""

from tests.mutants.mutation import Mutation, mutation

KEYS = "tests/api/test_idempotency_key.py"
FLIGHT = "tests/api/test_keys_in_flight.py"

MUTATIONS: tuple[Mutation, ...] = (
    mutation(
        "a refusal is kept under its key",
        "api/held_answers.py",
        "SUCCESSES = range(200, 300)",
        "SUCCESSES = range(200, 500)",
        f"{KEYS}::test_a_refusal_holds_no_key_and_leaves_nothing",
    ),
    mutation(
        "another body gets the stored answer",
        "webhooks/kept_answers.py",
        "if found.fingerprint != request.fingerprint:",
        "if False:",
        f"{KEYS}::test_another_body_is_422_and_changes_nothing",
    ),
    mutation(
        "the address is no part of an API key",
        "api/once.py",
        "key=keys.api_key(where, key),",
        'key=keys.api_key("", key),',
        f"{KEYS}::test_a_key_belongs_to_its_address",
    ),
    mutation(
        "every key is the operator's",
        "api/once.py",
        "tenant=caller.tenant.id if caller else OPERATOR,",
        "tenant=OPERATOR,",
        f"{KEYS}::test_two_tenants_with_one_key_are_two",
    ),
    mutation(
        "tenants share the locks of their keys",
        "webhooks/kept_answers.py",
        'about = ("request", request.tenant, request.key)',
        'about = ("request", type(request.tenant)(int=0), request.key)',
        f"{FLIGHT}::test_another_tenant_is_not_kept_waiting_by_the_same_key",
    ),
    mutation(
        "requests under one key do not meet",
        "webhooks/kept_answers.py",
        '    if taken == "mine":\n        return\n',
        "    if taken:\n        return\n",
        f"{FLIGHT}::test_twins_at_once_have_one_effect_and_one_answer",
    ),
)
