-- All that a request of a tenant needs to know, in one round trip: as in 0004, with the parts that came since.
CREATE FUNCTION app.tenant_snapshot_v5(p_slug text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  v_document jsonb := app.tenant_snapshot_v4(p_slug);
  v_id uuid := (v_document->>'id')::uuid;
BEGIN
  IF v_document IS NULL THEN
    RETURN NULL;
  END IF;
  RETURN v_document || app.snapshot_learning_v2(v_id) || app.snapshot_tiers_v1(v_id) || app.snapshot_waiting_v1(v_id)
         || app.snapshot_text_policy_v1(v_id);
END $$;
GRANT EXECUTE ON FUNCTION app.tenant_snapshot_v5 TO {app};
