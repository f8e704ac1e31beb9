-- All that a request of a tenant needs to know, in one round trip. An unknown slug gives null.
CREATE FUNCTION app.tenant_snapshot_v1(p_slug text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  t record;
  v_now timestamptz := app.now();
BEGIN
  SELECT id, slug, name, timezone, plan, status, tier, max_tier INTO t FROM control.tenants WHERE slug = p_slug AND status <> 'closed';
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  PERFORM set_config('app.tenant_id', t.id::text, true);
  RETURN jsonb_build_object(
    'id', t.id, 'slug', t.slug, 'name', t.name, 'timezone', t.timezone, 'plan', t.plan, 'status', t.status, 'tier', t.tier, 'max_tier', t.max_tier,
    'switches', (SELECT coalesce(jsonb_object_agg(name, mode ORDER BY tenant_id NULLS FIRST), '{}') FROM control.switches
                 WHERE tenant_id = t.id OR tenant_id IS NULL),
    'assistants', (SELECT coalesce(jsonb_agg(vapi_assistant_id), '[]') FROM assistants WHERE tenant_id = t.id),
    'credentials', (SELECT coalesce(jsonb_agg(jsonb_build_object('hash', encode(secret_hash, 'hex'), 'seconds_left',
                      CASE WHEN valid_until = 'infinity' THEN NULL ELSE extract(epoch FROM valid_until - v_now) END)), '[]')
                    FROM webhook_credentials WHERE tenant_id = t.id AND valid_until > v_now),
    'senders', (SELECT coalesce(jsonb_agg(jsonb_build_object('id', s.id, 'registration_id', s.registration_id, 'is_default', s.is_default,
                  'from_number', s.from_number, 'tier', r.tier, 'segments_per_minute', r.segments_per_minute,
                  'queued_segments', coalesce(d.queued_segments, 0), 'hold_reason', d.hold_reason,
                  'paced_for', greatest(0, CASE WHEN d.paced_until > '-infinity' THEN extract(epoch FROM d.paced_until - v_now) ELSE 0 END))), '[]')
                FROM senders AS s JOIN registrations AS r ON r.tenant_id = s.tenant_id AND r.id = s.registration_id
                LEFT JOIN control.schedule AS d ON d.tenant_id = s.tenant_id AND d.registration_id = s.registration_id
                WHERE s.tenant_id = t.id));
END $$;
GRANT EXECUTE ON FUNCTION app.tenant_snapshot_v1 TO {app};
