-- When people may be texted.
CREATE FUNCTION app.snapshot_quiet_hours_v1(p_tenant uuid) RETURNS jsonb LANGUAGE sql STABLE AS $$SELECT '{}'::jsonb$$;
GRANT EXECUTE ON FUNCTION app.snapshot_quiet_hours_v1 TO {app};
