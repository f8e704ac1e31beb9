-- What a tenant answers where Vapi asks: who takes a call whose number has no assistant, where a caller may be put through to,
-- and HTTP endpoints of its own that are asked instead.

CREATE TABLE inbound_routes (
  tenant_id uuid NOT NULL,
  phone_number text NOT NULL,                   -- E.164, Vapi's id of the number, or 'default'
  target jsonb NOT NULL,                        -- one of assistant_id, squad_id, workflow_id, destination, error
  overrides jsonb NOT NULL DEFAULT '{}',        -- as Vapi names them
  variables jsonb NOT NULL DEFAULT '{}',
  created_at timestamptz NOT NULL DEFAULT app.now(),
  updated_at timestamptz NOT NULL DEFAULT app.now(),
  PRIMARY KEY (tenant_id, phone_number)
);

CREATE TABLE transfer_directory (
  tenant_id uuid NOT NULL,
  name text NOT NULL,
  destination jsonb NOT NULL,                   -- {type: number | sip | assistant, …}
  description text NOT NULL DEFAULT '',
  message text,                                 -- spoken before the caller is put through
  hours jsonb,                                  -- null: the tenant's own hours, if it has any
  closed_message text,
  is_default boolean NOT NULL DEFAULT false,
  created_at timestamptz NOT NULL DEFAULT app.now(),
  updated_at timestamptz NOT NULL DEFAULT app.now(),
  PRIMARY KEY (tenant_id, name)
);
CREATE UNIQUE INDEX transfer_directory_default_idx ON transfer_directory (tenant_id) WHERE is_default;

CREATE TABLE answerers (
  tenant_id uuid NOT NULL,
  type text NOT NULL,                           -- of the messages it answers
  url text NOT NULL,
  method text NOT NULL CHECK (method IN ('POST', 'PUT', 'PATCH')),
  timeout_ms integer NOT NULL CHECK (timeout_ms BETWEEN 100 AND 15000), -- for all attempts together
  secret_sealed text NOT NULL,                  -- signs what we send (Standard Webhooks)
  previous_secret_sealed text,                  -- signs too, until its end
  previous_secret_until timestamptz,
  created_at timestamptz NOT NULL DEFAULT app.now(),
  updated_at timestamptz NOT NULL DEFAULT app.now(),
  PRIMARY KEY (tenant_id, type)
);

SELECT app.wall_in(t, '{role}') FROM unnest(ARRAY['inbound_routes', 'transfer_directory', 'answerers']::regclass[]) AS t;
GRANT SELECT, INSERT, UPDATE, DELETE ON inbound_routes, transfer_directory, answerers TO {app};

-- An assistant of a route is told by its id at Vapi; of one that was removed that is null.
CREATE FUNCTION app.snapshot_answers_v1(p_tenant uuid) RETURNS jsonb LANGUAGE sql STABLE AS $$
  SELECT jsonb_build_object(
    'inbound_routes', (
      SELECT coalesce(jsonb_agg(jsonb_build_object('phone_number', r.phone_number, 'target', r.target, 'overrides', r.overrides,
               'variables', r.variables, 'vapi_assistant_id',
               (SELECT a.vapi_assistant_id FROM assistants AS a
                WHERE a.tenant_id = p_tenant AND a.id = (r.target->>'assistant_id')::uuid))), '[]')
      FROM inbound_routes AS r WHERE r.tenant_id = p_tenant),
    'transfers', (
      SELECT coalesce(jsonb_agg(jsonb_build_object('name', d.name, 'destination', d.destination, 'message', d.message, 'hours', d.hours,
               'closed_message', d.closed_message, 'is_default', d.is_default) ORDER BY d.name), '[]')
      FROM transfer_directory AS d WHERE d.tenant_id = p_tenant),
    'answerers', (
      SELECT coalesce(jsonb_agg(jsonb_build_object('type', w.type, 'url', w.url, 'method', w.method, 'timeout_ms', w.timeout_ms,
               'secret_sealed', w.secret_sealed,
               'previous_secret_sealed', CASE WHEN w.previous_secret_until > app.now() THEN w.previous_secret_sealed END)), '[]')
      FROM answerers AS w WHERE w.tenant_id = p_tenant))
$$;
GRANT EXECUTE ON FUNCTION app.snapshot_answers_v1 TO {app};
