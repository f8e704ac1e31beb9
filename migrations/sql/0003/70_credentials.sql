-- How Vapi proves itself, in every way that its credentials have.

-- A bearer secret may come in another header than Authorization, and without the word Bearer. Both say how Vapi is set up; what counts
-- is the secret.
ALTER TABLE webhook_credentials
  ADD COLUMN header text NOT NULL DEFAULT 'authorization' CHECK (header = lower(header)),
  ADD COLUMN bearer_prefix boolean NOT NULL DEFAULT true;

-- A table of its own: the release before reads every row of webhook_credentials as a secret that opens when it is presented.
CREATE TABLE signing_credentials (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  assistant_id uuid,                      -- none: it serves the whole tenant
  secret_sealed text NOT NULL,            -- opened to verify; never compared with what arrives
  plan jsonb NOT NULL,                    -- the options of Vapi's HMAC credential: tenants/signature_plans.py
  created_at timestamptz NOT NULL DEFAULT app.now(),
  valid_until timestamptz NOT NULL DEFAULT 'infinity',
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, assistant_id) REFERENCES assistants (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX signing_credentials_assistant_idx ON signing_credentials (tenant_id, assistant_id);
SELECT app.wall_in('signing_credentials', '{role}');
GRANT SELECT, INSERT, UPDATE, DELETE ON signing_credentials TO {app};

-- What the snapshot says of them: in which headers a bearer secret may come beside the two usual ones, and what signs.
CREATE FUNCTION app.snapshot_credentials_v1(p_tenant uuid) RETURNS jsonb LANGUAGE sql STABLE AS $$
SELECT jsonb_build_object(
  'bearer_headers', (SELECT coalesce(jsonb_agg(DISTINCT c.header), '[]') FROM webhook_credentials AS c
                     WHERE c.tenant_id = p_tenant AND c.valid_until > app.now() AND c.header NOT IN ('authorization', 'x-vapi-secret')),
  'signing', (SELECT coalesce(jsonb_agg(jsonb_build_object('sealed', s.secret_sealed, 'plan', s.plan, 'seconds_left',
                CASE WHEN s.valid_until = 'infinity' THEN NULL ELSE extract(epoch FROM s.valid_until - app.now()) END) ORDER BY s.id DESC), '[]')
              FROM signing_credentials AS s WHERE s.tenant_id = p_tenant AND s.valid_until > app.now()))
$$;
GRANT EXECUTE ON FUNCTION app.snapshot_credentials_v1 TO {app};
