-- All that a request of a tenant needs to know, in one round trip: as in 0001, with the tenant's own tools, and how long it keeps what.
-- Of a switch turned for everybody and for the tenant, the mode farther from the default holds.
CREATE FUNCTION app.tenant_snapshot_v2(p_slug text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  v_document jsonb := app.tenant_snapshot_v1(p_slug);
  v_id uuid := (v_document->>'id')::uuid;
BEGIN
  IF v_document IS NULL THEN
    RETURN NULL;
  END IF;
  RETURN v_document || jsonb_build_object(
    'switches', (SELECT coalesce(jsonb_object_agg(w.name, w.mode), '{}') FROM (
                   SELECT DISTINCT ON (s.name) s.name, s.mode FROM control.switches AS s WHERE s.tenant_id = v_id OR s.tenant_id IS NULL
                   ORDER BY s.name, array_position(ARRAY['off', 'hold', 'store_only', 'observe'], s.mode) NULLS LAST) AS w),
    'bodies_days', (SELECT t.bodies_days FROM control.tenants AS t WHERE t.id = v_id),
    'capture', (SELECT t.capture FROM control.tenants AS t WHERE t.id = v_id),
    'tools', (SELECT coalesce(jsonb_agg(jsonb_build_object('name', h.name, 'url', h.url, 'method', h.method, 'timeout_ms', h.timeout_ms,
                'secret_sealed', h.secret_sealed, 'repeatable', h.repeatable, 'business_arguments', h.business_arguments,
                'business_seconds', h.business_seconds,
                'previous_secret_sealed', CASE WHEN h.previous_secret_until > app.now() THEN h.previous_secret_sealed END)), '[]')
              FROM http_tools AS h WHERE h.tenant_id = v_id));
END $$;
GRANT EXECUTE ON FUNCTION app.tenant_snapshot_v2 TO {app};
