"""Breaking what is kept and for how long, and the walls around it."""

from tests.mutants.mutation import Edit, Mutation, mutation

FORGET = "migrations/sql/0002/60_forget.sql"
RETENTION = "tenants/retention.py"
BOUNDARY = "tests/retention/test_boundary.py"
OVER = "$$SELECT p_received_at < p_cutoff AND (p_state <> 'in_flight' OR p_lease_until < p_cutoff)$$"
STRICTLY = f"{BOUNDARY}::test_a_key_leaves_when_it_is_strictly_older_than_its_time"
WALLS = "tests/data/test_isolation.py::test_another_tenants_rows_are_out_of_reach"
GUARD = "webhooks/guarded_connections.py"
GUARDED = "tests/webhooks/test_guarded_connections.py"
BY_NAME = "elif not all(self._may_reach(address) for address in addresses):"
BY_SOCKET = "if address[0] not in self._by_name and not self._may_reach(address[0]):"

MUTATIONS: tuple[Mutation, ...] = (
    mutation("a key leaves at its time", FORGET, OVER, OVER.replace("p_received_at < p_cutoff", "p_received_at <= p_cutoff"), STRICTLY),
    mutation("a key leaves by its id alone", FORGET, OVER, OVER.replace("p_received_at < p_cutoff AND ", ""), STRICTLY),
    mutation(
        "a run that lives leaves with its key",
        FORGET,
        OVER,
        "$$SELECT p_received_at < p_cutoff$$",
        f"{BOUNDARY}::test_a_run_that_lives_stays_whatever_its_age",
    ),
    mutation(
        "a run leaves as soon as its lease is over",
        FORGET,
        OVER,
        OVER.replace("p_lease_until < p_cutoff", "p_lease_until < app.now()").replace("p_state <> ", "p_state <> "),
        f"{BOUNDARY}::test_a_run_that_lives_stays_whatever_its_age",
    ),
    mutation(
        "every tenant keeps its keys as long as the shortest",
        FORGET,
        "(SELECT t.keys_hours FROM control.tenants AS t WHERE t.id = p_tenant)",
        "(SELECT min(t.keys_hours) FROM control.tenants AS t)",
        f"{BOUNDARY}::test_each_tenant_by_its_own_retention",
    ),
    mutation(
        "a dry run deletes",
        FORGET,
        "IF p_dry_run THEN",
        "IF false THEN",
        f"{BOUNDARY}::test_each_tenant_by_its_own_retention",
    ),
    mutation(
        "keys may be kept for less than 72 hours",
        RETENTION,
        "SHORTEST_HOURS, LONGEST_HOURS = 72,",
        "SHORTEST_HOURS, LONGEST_HOURS = 71,",
        "tests/api/test_retention.py::test_what_cannot_be_is_refused_where_it_stands",
    ),
    mutation(
        "a day of bodies is dropped a day early",
        "migrations/sql/0002/50_bodies.sql",
        "$$SELECT p_day + p_class < app.today()$$",
        "$$SELECT p_day + p_class <= app.today()$$",
        "tests/retention/test_body_days.py::test_a_day_is_dropped_when_it_is_over_and_no_moment_earlier",
    ),
    mutation(
        "a kept body holds its secrets",
        "webhooks/bodies.py",
        "redacted_document(msgspec.json.decode(body))",
        "msgspec.json.decode(body)",
        "tests/api/test_replay.py::test_the_body_of_an_unknown_type_is_kept_without_its_secrets",
    ),
    mutation(
        "no wall around tenants' tools",
        "migrations/sql/0002/10_tables.sql",
        "unnest(ARRAY['http_tools', 'vapi_accounts']::regclass[])",
        "unnest(ARRAY['vapi_accounts']::regclass[])",
        WALLS,
    ),
    mutation(
        "no wall around kept bodies",
        "migrations/sql/0002/50_bodies.sql",
        "SELECT app.wall_in('webhook_bodies'::regclass, '{role}');\n",
        "",
        WALLS,
    ),
    Mutation(
        "a tenant's URL leads to any address",
        (Edit(GUARD, BY_NAME, "elif False:"), Edit(GUARD, BY_SOCKET, "if False:")),
        (f"{GUARDED}::test_a_name_that_leads_inside_is_refused",),
    ),
    mutation(
        "only names are judged",
        GUARD,
        BY_SOCKET,
        "if False:",
        f"{GUARDED}::test_this_machine_is_not_reached_in_any_spelling",
        f"{GUARDED}::test_what_was_judged_is_what_is_connected_to",
    ),
)
