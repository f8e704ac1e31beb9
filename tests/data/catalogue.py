"""What must hold of every table, role and function, asked of PostgreSQL's own catalogue: a forgotten wall is found without a query.

A guard is a query that names offenders. The lists below are the only exceptions, each with its reason.
"""

from collections.abc import Mapping

import asyncpg

OUTSIDE_TENANTS = {"alembic_version": "which schema this is"}
CONTROL = {
    "api_keys": "keyed hashes: a key is looked up before its tenant is known",
    "arrivals": "accepted messages not yet folded into the schedule: ids, a time and a count",
    "assistant_routes": "which tenants registered an assistant: one of another tenant is refused",
    "audit": "who changed what; the operator reads it across tenants",
    "call_watch": "up to which webhook a tenant's calls have been noted: an id",
    "duties": "periodic work of the whole service",
    "folds": "which batch of duplicates was counted last: an id",
    "plan_prices": "the operator's prices",
    "plans": "the operator's offers",
    "queue_bounds": "the operator's bounds of a queue: the worker finds who has too much before it enters a scope",
    "schedule": "when to look at a registration: the dispatcher serves tenants in turn from here",
    "sender_routes": "one sender belongs to one tenant",
    "switches": "the operator's controls",
    "tenants": "identity and status, read before any scope exists",
    "tiers": "the operator's own tiers, which any tenant may be given",
}
ACTS_AS_OWNER = {  # each reviewed: no table of a tenant is read, names are composed from constants, the search path is pinned
    "make_body_days_v1": "a partition is made by the owner of its table; callers choose 0 to 31 days",
    "drop_body_day_v1": "a partition is dropped by the owner of its table; a day that is not over is refused by the database's clock",
}
KEYS_TO_NO_TENANT = {"subscriptions_plan_id_fkey": "a plan is the operator's, and shared"}
APPEND_ONLY = {
    "audit": "a trail that can be rewritten proves nothing",
    "plans": "a change is a new version",
    "plan_prices": "the same",
    "usage_events": "invoices are computed from it",
}
CUSTOMERS = (
    "recipient|body|phone|number|caller|customer|email|address|transcript|summary|recording|arguments|answer|text|secret|sealed|token"
)

TABLES = """
WITH app AS (SELECT oid, rolname FROM pg_roles WHERE rolname = $1
), given AS (SELECT $2::text[] AS append_only, $3::text[] AS outside, $4::text[] AS control
), tables AS (
  SELECT c.oid, c.relname, n.nspname, c.relacl, c.relrowsecurity, c.relforcerowsecurity, c.relispartition,
         (SELECT a.attnum FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped) AS tenant
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
  WHERE n.nspname IN ('public', 'control', 'app') AND c.relkind IN ('r', 'p')
), walled AS (SELECT * FROM tables WHERE nspname = 'public' AND tenant IS NOT NULL)
, entered AS (SELECT * FROM walled WHERE NOT relispartition)  -- a partition has no wall of its own, and nobody a right to it
"""
OWN_ROWS = "(tenant_id = ( SELECT app.current_tenant() AS current_tenant))"
OURS = "n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_%'"
LOCALLY = "^set_config\\(''app.tenant_id'', [^,]+, true\\)"

GUARDS: Mapping[str, str] = {
    "row security is enabled and forced": "SELECT relname FROM entered WHERE NOT (relrowsecurity AND relforcerowsecurity)",
    "one restrictive policy binds the application to its tenant": f"""
        SELECT relname FROM entered WHERE (
          SELECT count(*) FROM pg_policy AS p, app WHERE p.polrelid = entered.oid AND NOT p.polpermissive AND p.polcmd = '*'
            AND p.polroles = ARRAY[app.oid]
            AND pg_get_expr(p.polqual, p.polrelid) = '{OWN_ROWS}' AND pg_get_expr(p.polwithcheck, p.polrelid) = '{OWN_ROWS}') <> 1""",
    "one permissive policy and no other": """
        SELECT relname FROM entered WHERE (SELECT count(*) FROM pg_policy AS p WHERE p.polrelid = entered.oid AND p.polpermissive) <> 1""",
    "tenant_id is never null": """
        SELECT relname FROM walled JOIN pg_attribute AS a ON a.attrelid = walled.oid AND a.attnum = walled.tenant WHERE NOT a.attnotnull""",
    "tenant_id leads every unique key": """
        SELECT i.indexrelid::regclass::text FROM walled JOIN pg_index AS i ON i.indrelid = walled.oid
        WHERE (i.indisunique OR i.indisexclusion) AND i.indkey[0] <> walled.tenant""",
    "tenant_id leads every foreign key": """
        SELECT k.conname FROM walled JOIN pg_constraint AS k ON k.conrelid = walled.oid AND k.contype = 'f'
        LEFT JOIN walled AS parent ON parent.oid = k.confrelid
        WHERE k.conkey[1] <> walled.tenant OR parent.oid IS NULL OR k.confkey[1] <> parent.tenant""",
    "the application has four verbs and nobody else any": """
        SELECT relname || ' ' || g.privilege_type FROM app, tables, aclexplode(relacl) AS g
        WHERE g.grantee = 0 OR (g.grantee = app.oid AND g.privilege_type NOT IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE'))
        UNION ALL SELECT relname || '.' || a.attname FROM tables JOIN pg_attribute AS a ON a.attrelid = tables.oid
          WHERE a.attacl IS NOT NULL""",
    "what is append-only can only be added to": """
        SELECT relname || ' ' || verb FROM app, given, tables, unnest(ARRAY['UPDATE', 'DELETE']) AS verb
        WHERE relname = ANY (append_only) AND has_table_privilege(app.oid, tables.oid, verb)""",
    "no partition is reached around its parent": """
        SELECT relname FROM app, tables
        WHERE relispartition AND has_table_privilege(app.oid, tables.oid, 'SELECT, INSERT, UPDATE, DELETE')""",
    "the application owns nothing": f"""
        SELECT c.relname FROM app, pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
          WHERE {OURS} AND pg_has_role(app.oid, c.relowner, 'MEMBER')
        UNION ALL SELECT p.proname FROM app, pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
          WHERE {OURS} AND pg_has_role(app.oid, p.proowner, 'MEMBER')
        UNION ALL SELECT n.nspname FROM app, pg_namespace AS n WHERE pg_has_role(app.oid, n.nspowner, 'MEMBER')
        UNION ALL SELECT d.datname FROM app, pg_database AS d WHERE pg_has_role(app.oid, d.datdba, 'MEMBER')""",
    "the application makes nothing": f"""
        SELECT n.nspname FROM app, pg_namespace AS n WHERE {OURS} AND has_schema_privilege(app.oid, n.oid, 'CREATE')""",
    "the application is and becomes nobody strong": """
        SELECT r.rolname FROM app, pg_roles AS r WHERE pg_has_role(app.oid, r.oid, 'MEMBER')
          AND (r.oid <> app.oid OR r.rolsuper OR r.rolbypassrls OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication)""",
    "what acts as its owner has a fixed search path": f"""
        SELECT p.proname FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
        WHERE {OURS} AND p.prosecdef AND NOT coalesce('search_path=pg_catalog, pg_temp' = ANY (p.proconfig), false)
        UNION ALL SELECT p.proname FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
          WHERE {OURS} AND p.prosecdef AND (p.proacl IS NULL OR EXISTS (SELECT 1 FROM aclexplode(p.proacl) AS g WHERE g.grantee = 0))""",
    "views read as who asks": f"""
        SELECT c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE {OURS} AND (c.relkind = 'm'
          OR (c.relkind = 'v' AND NOT coalesce(c.reloptions && ARRAY['security_invoker=on', 'security_invoker=true'], false)))""",
    "no function acts as its owner": f"""
        SELECT p.proname FROM app, pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
        WHERE {OURS} AND p.prosecdef AND has_function_privilege(app.oid, p.oid, 'EXECUTE')""",
    "functions enter a scope for the transaction only": f"""
        SELECT p.proname FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace,
          regexp_matches(p.prosrc, 'set_config\\([^;]*', 'g') AS call
        WHERE {OURS} AND call[1] !~ '{LOCALLY}'""",
    "no column is an enum, whose comparison reaches no index": """
        SELECT relname || '.' || a.attname FROM tables JOIN pg_attribute AS a ON a.attrelid = tables.oid AND a.attnum > 0
        JOIN pg_type AS t ON t.oid = a.atttypid WHERE t.typtype = 'e'""",
    "a table belongs to tenants or has its reason": """
        SELECT relname FROM given, tables
        WHERE nspname <> 'control' AND NOT (nspname = 'public' AND tenant IS NOT NULL) AND relname <> ALL (outside)""",
    "a table of control has its reason": """
        SELECT relname FROM given, tables WHERE nspname = 'control' AND relname <> ALL (control)
        UNION ALL SELECT name || ' is gone' FROM given, unnest(control) AS name
          WHERE name NOT IN (SELECT relname FROM tables WHERE nspname = 'control')""",
    "control holds nothing of customers": f"""
        SELECT relname || '.' || a.attname FROM tables
        JOIN pg_attribute AS a ON a.attrelid = tables.oid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE nspname = 'control' AND a.attname ~ '(^|_)({CUSTOMERS})s?(_|$)'""",
}
EXCEPTIONS = {"tenant_id leads every foreign key": KEYS_TO_NO_TENANT, "no function acts as its owner": ACTS_AS_OWNER}


async def defects(connection: "asyncpg.Connection[asyncpg.Record]", role: str) -> set[tuple[str, str]]:
    """(guard, offender) of everything that is not as it must be."""
    found: set[tuple[str, str]] = set()
    for name, query in GUARDS.items():
        rows = await connection.fetch(TABLES + query, role, list(APPEND_ONLY), list(OUTSIDE_TENANTS), list(CONTROL))
        found |= {(name, row[0]) for row in rows if row[0] not in EXCEPTIONS.get(name, {})}
    return found
