-- What Twilio's answers teach about a sender or a registration.
CREATE FUNCTION app.snapshot_learning_v1(p_tenant uuid) RETURNS jsonb LANGUAGE sql STABLE AS $$SELECT '{}'::jsonb$$;
GRANT EXECUTE ON FUNCTION app.snapshot_learning_v1 TO {app};
