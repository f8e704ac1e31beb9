-- What the snapshot of a tenant is joined of; a part that has a file of its own is not here any more.
CREATE FUNCTION app.snapshot_answers_v1(p_tenant uuid) RETURNS jsonb LANGUAGE sql STABLE AS $$ SELECT '{}'::jsonb $$;
CREATE FUNCTION app.snapshot_privacy_v1(p_tenant uuid) RETURNS jsonb LANGUAGE sql STABLE AS $$ SELECT '{}'::jsonb $$;
GRANT EXECUTE ON FUNCTION app.snapshot_answers_v1, app.snapshot_privacy_v1 TO {app};
