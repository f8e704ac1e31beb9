-- When a tenant is open, in its own wall time: {week: {monday: [{opens, closes}]}, days: {"2026-12-24": []}}.
CREATE TABLE opening_hours (
  tenant_id uuid NOT NULL,
  name text NOT NULL,                           -- 'default': a tenant has one place today
  hours jsonb NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT app.now(),
  PRIMARY KEY (tenant_id, name)
);
SELECT app.wall_in('opening_hours'::regclass, '{role}');
GRANT SELECT, INSERT, UPDATE, DELETE ON opening_hours TO {app};

CREATE FUNCTION app.snapshot_hours_v1(p_tenant uuid) RETURNS jsonb LANGUAGE sql STABLE AS $$
  SELECT jsonb_build_object('hours', (SELECT h.hours FROM opening_hours AS h WHERE h.tenant_id = p_tenant AND h.name = 'default'))
$$;
GRANT EXECUTE ON FUNCTION app.snapshot_hours_v1 TO {app};
