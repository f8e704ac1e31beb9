-- What the operator grants beside the carriers' own tiers (tenants/tiers.json), and what it grants one registration.
--
-- Order of locks: the tenant's row, the rows here in order of their name, then registrations, then the schedule. Whoever settles a
-- registration holds the tiers shared, whoever changes a tier holds them all alone: no registration is settled by a tier that changes.
CREATE TABLE control.tiers (
  name text PRIMARY KEY CHECK (name ~ '^[a-z][a-z0-9_]{1,62}$'),
  description text NOT NULL,
  segments_per_second numeric CHECK (segments_per_second > 0),
  segments_per_minute integer CHECK (segments_per_minute > 0),
  -- the stricter of the two; the pacer's rates are whole segments per minute
  per_minute integer NOT NULL GENERATED ALWAYS AS (least(floor(segments_per_second * 60)::integer, segments_per_minute)) STORED
    CHECK (per_minute > 0),
  day_cap integer CHECK (day_cap > 0),
  day_cap_scope text CHECK (day_cap_scope IN ('brand', 'registration')),
  blocked_destinations text[] NOT NULL DEFAULT '{}',
  created_at timestamptz NOT NULL DEFAULT app.now(),
  updated_at timestamptz NOT NULL DEFAULT app.now(),
  retired_at timestamptz,
  CHECK ((day_cap IS NULL) = (day_cap_scope IS NULL))
);
COMMENT ON TABLE control.tiers IS 'Tiers that the operator defined: any tenant may be given one; a name is never used again.';
GRANT SELECT, INSERT, UPDATE ON control.tiers TO {app};

ALTER TABLE registrations
  ADD COLUMN claimed_tier text,           -- what the tenant declared, whatever it was capped to; null: the release before stored it
  ADD COLUMN claimed_source text CHECK (claimed_source IN ('tenant', 'operator')),
  ADD COLUMN override_per_minute integer CHECK (override_per_minute > 0),  -- the operator's word for this one registration
  ADD COLUMN override_day_cap integer CHECK (override_day_cap > 0),
  ADD COLUMN override_note text,
  DROP CONSTRAINT registrations_tier_source_check,
  ADD CONSTRAINT registrations_tier_source_check CHECK (tier_source IN ('tenant', 'operator', 'capped', 'override'));

-- Whole segments per minute of a tier, the operator's or a built-in one (p_builtin: {name: rate}); null where there is none of that name.
CREATE FUNCTION app.tier_rate_v1(p_name text, p_builtin jsonb) RETURNS integer LANGUAGE sql STABLE AS $$
  SELECT coalesce((p_builtin->>p_name)::integer, (SELECT t.per_minute FROM control.tiers AS t WHERE t.name = p_name AND t.retired_at IS NULL))
$$;

-- What each registration of these tenants gets: the operator's override, else what it claims, at most what the tenant may claim
-- (max_tier). Gives those whose rate changed, and those that have the tier p_changed. The caller holds the tiers; app.look_again_v1
-- comes next.
CREATE FUNCTION app.settle_registrations_v1(p_tenants uuid[], p_builtin jsonb, p_changed text)
RETURNS TABLE (tenant_id uuid, registration_id uuid, tier text, tier_source text, per_minute integer) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  t record;
  r record;
  v_cap_rate integer;
  v_rate integer;
  v_capped boolean;
  v_tier text;
  v_source text;
  v_wanted integer;
BEGIN
  FOR t IN SELECT c.id, c.max_tier FROM control.tenants AS c WHERE c.id = ANY (p_tenants) ORDER BY c.id LOOP
    PERFORM set_config('app.tenant_id', t.id::text, true);
    v_cap_rate := app.tier_rate_v1(t.max_tier, p_builtin);
    FOR r IN
      SELECT q.id, q.tier, q.tier_source, q.segments_per_minute, q.override_per_minute, coalesce(q.claimed_tier, q.tier) AS claimed,
        coalesce(q.claimed_source, CASE WHEN q.tier_source = 'tenant' THEN 'tenant' ELSE 'operator' END) AS claimed_source
      FROM registrations AS q WHERE q.tenant_id = t.id ORDER BY q.id FOR UPDATE
    LOOP
      v_rate := app.tier_rate_v1(r.claimed, p_builtin);
      CONTINUE WHEN v_rate IS NULL;  -- a tier that this release does not know: it stays as it is
      v_capped := coalesce(v_cap_rate < v_rate, false);
      v_tier := CASE WHEN v_capped THEN t.max_tier ELSE r.claimed END;
      v_source := CASE WHEN r.override_per_minute IS NOT NULL THEN 'override' WHEN v_capped THEN 'capped' ELSE r.claimed_source END;
      v_wanted := coalesce(r.override_per_minute, CASE WHEN v_capped THEN v_cap_rate ELSE v_rate END);
      UPDATE registrations AS u SET tier = v_tier, tier_source = v_source, segments_per_minute = v_wanted,
        claimed_tier = r.claimed, claimed_source = r.claimed_source, updated_at = app.now()
      WHERE u.tenant_id = t.id AND u.id = r.id
        AND (u.tier, u.tier_source, u.segments_per_minute, u.claimed_tier) IS DISTINCT FROM (v_tier, v_source, v_wanted, r.claimed);
      IF v_wanted <> r.segments_per_minute OR v_tier = p_changed THEN
        RETURN QUERY SELECT t.id, r.id, v_tier, v_source, v_wanted;
      END IF;
    END LOOP;
  END LOOP;
END $$;

-- The dispatcher looks at these registrations at once, by their new rate. A claim of a worker that asked by the old one is ended: its
-- slots are lost, never used. The caller holds no message.
CREATE FUNCTION app.look_again_v1(p_tenants uuid[], p_registrations uuid[]) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
  v_touched integer;
BEGIN
  UPDATE control.schedule AS s SET picked_by = NULL, picked_until = '-infinity', paced_until = '-infinity',
    next_at = CASE WHEN s.has_work THEN app.now() ELSE s.next_at END
  FROM (SELECT d.tenant_id, d.registration_id FROM control.schedule AS d
        WHERE (d.tenant_id, d.registration_id) IN (SELECT w.tenant_id, w.registration_id FROM unnest(p_tenants, p_registrations) AS w(tenant_id, registration_id))
        ORDER BY d.tenant_id, d.registration_id FOR UPDATE) AS held
  WHERE s.tenant_id = held.tenant_id AND s.registration_id = held.registration_id;
  GET DIAGNOSTICS v_touched = ROW_COUNT;
  RETURN v_touched;
END $$;

-- Of these tenants, each with how many of its registrations claim or have this tier, and whether its own row names it (tier, max_tier).
CREATE FUNCTION app.tier_uses_v1(p_name text, p_tenants uuid[])
RETURNS TABLE (tenant_id uuid, registrations integer, named boolean) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  t record;
BEGIN
  FOR t IN SELECT c.id, coalesce(c.tier = p_name, false) OR coalesce(c.max_tier = p_name, false) AS named FROM control.tenants AS c
           WHERE c.id = ANY (p_tenants) ORDER BY c.id
  LOOP
    PERFORM set_config('app.tenant_id', t.id::text, true);
    RETURN QUERY SELECT t.id, count(*)::integer, t.named FROM registrations AS r
                 WHERE r.tenant_id = t.id AND (r.tier = p_name OR r.claimed_tier = p_name);
  END LOOP;
END $$;

-- The day's caps that hold for a registration, set by the operator: its override, else its tier's; of the registration alone or of all
-- that share its brand (without a brand: of the registration). The brand is given where there is one, since its count is kept anyway.
CREATE FUNCTION app.day_cap_of_v1(p_tenant uuid, p_registration uuid)
RETURNS TABLE (registration_cap integer, brand text, brand_cap integer) LANGUAGE sql STABLE AS $$
  SELECT CASE WHEN r.override_day_cap IS NOT NULL THEN r.override_day_cap
              WHEN r.brand_sid IS NULL OR t.day_cap_scope = 'registration' THEN t.day_cap END,
         r.brand_sid,
         CASE WHEN r.override_day_cap IS NULL AND r.brand_sid IS NOT NULL AND t.day_cap_scope = 'brand' THEN t.day_cap END
  FROM registrations AS r LEFT JOIN control.tiers AS t ON t.name = r.tier AND t.retired_at IS NULL
  WHERE r.tenant_id = p_tenant AND r.id = p_registration
$$;

-- For the dispatcher, of one pick: the caps of the registration's day, and which of its messages are one-time codes, for which a share of
-- a cap is kept; those are looked up only where there is a cap. Enters the tenant's scope: a pick serves several tenants in turn.
CREATE FUNCTION app.day_caps_v1(p_tenant uuid, p_registration uuid, p_messages uuid[])
RETURNS TABLE (registration_cap integer, brand text, brand_cap integer, codes uuid[]) LANGUAGE plpgsql AS $$
DECLARE
  c record;
BEGIN
  PERFORM set_config('app.tenant_id', p_tenant::text, true);
  SELECT d.registration_cap, d.brand, d.brand_cap INTO c FROM app.day_cap_of_v1(p_tenant, p_registration) AS d;
  RETURN QUERY SELECT c.registration_cap, c.brand, c.brand_cap, CASE
    WHEN c.registration_cap IS NOT NULL OR c.brand_cap IS NOT NULL THEN ARRAY(
      SELECT m.id FROM messages AS m WHERE m.tenant_id = p_tenant AND m.id = ANY (p_messages) AND m.priority = 0) END;
END $$;

-- The operator's tiers that this tenant's registrations have, and the caps of their day, by registration.
CREATE FUNCTION app.snapshot_tiers_v1(p_tenant uuid) RETURNS jsonb LANGUAGE sql STABLE AS $$
  SELECT jsonb_build_object(
    'own_tiers', (SELECT coalesce(jsonb_agg(jsonb_build_object('name', t.name, 'description', t.description, 'per_minute', t.per_minute,
                    'day_cap', t.day_cap, 'day_cap_scope', t.day_cap_scope, 'blocked_destinations', t.blocked_destinations)), '[]')
                  FROM control.tiers AS t
                  WHERE t.name IN (SELECT r.tier FROM registrations AS r WHERE r.tenant_id = p_tenant)),
    'day_caps', (SELECT coalesce(jsonb_object_agg(r.id, to_jsonb(c)), '{}')
                 FROM registrations AS r CROSS JOIN LATERAL app.day_cap_of_v1(p_tenant, r.id) AS c
                 WHERE r.tenant_id = p_tenant AND (c.registration_cap IS NOT NULL OR c.brand IS NOT NULL)))
$$;
GRANT EXECUTE ON FUNCTION app.tier_rate_v1, app.settle_registrations_v1, app.look_again_v1, app.tier_uses_v1, app.day_cap_of_v1,
  app.day_caps_v1, app.snapshot_tiers_v1 TO {app};
