-- Whom a tenant may text, and how often.
CREATE FUNCTION app.snapshot_policy_v1(p_tenant uuid) RETURNS jsonb LANGUAGE sql STABLE AS $$SELECT '{}'::jsonb$$;
GRANT EXECUTE ON FUNCTION app.snapshot_policy_v1 TO {app};
