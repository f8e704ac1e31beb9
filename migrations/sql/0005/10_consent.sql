-- Who asked one sender not to be texted (its number, or the pool of its Messaging Service); opt_outs holds who asked the tenant.
CREATE TABLE sender_opt_outs (
  tenant_id uuid NOT NULL,
  recipient text NOT NULL,
  sender_id uuid NOT NULL,
  source text NOT NULL CHECK (source IN ('inbound', 'twilio', 'api')),
  created_at timestamptz NOT NULL DEFAULT app.now(),
  PRIMARY KEY (tenant_id, recipient, sender_id)
);

-- Whom a STOP to one sender stops; without a row: the tenant.
CREATE TABLE consent_settings (
  tenant_id uuid NOT NULL,
  name text NOT NULL,                           -- 'default': a tenant has one setting today
  stop_covers text NOT NULL CHECK (stop_covers IN ('tenant', 'sender')),
  updated_at timestamptz NOT NULL DEFAULT app.now(),
  PRIMARY KEY (tenant_id, name)
);
SELECT app.wall_in(t, '{role}') FROM unnest(ARRAY['sender_opt_outs', 'consent_settings']::regclass[]) AS t;
GRANT SELECT, INSERT, UPDATE, DELETE ON sender_opt_outs, consent_settings TO {app};

-- The functions below run in the tenant's scope. Each holds the setting while it acts by it, so that a STOP that is being stored
-- for one sender is seen by whoever widens all of them, and none is left behind.
CREATE FUNCTION app.stop_covers_v1(p_tenant uuid) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  v_covers text;
BEGIN
  SELECT c.stop_covers INTO v_covers FROM consent_settings AS c WHERE c.tenant_id = p_tenant AND c.name = 'default' FOR SHARE;
  RETURN coalesce(v_covers, 'tenant');
END $$;

-- A person asked these senders for no more texts: 'inbound' in a text, 'twilio' as Twilio tells us. Without a sender the whole tenant is meant.
CREATE FUNCTION app.suppress_v1(p_tenant uuid, p_recipient text, p_senders uuid[], p_source text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF app.stop_covers_v1(p_tenant) = 'sender' AND cardinality(p_senders) > 0 THEN
    INSERT INTO sender_opt_outs (tenant_id, recipient, sender_id, source)
    SELECT DISTINCT p_tenant, p_recipient, s.id, p_source FROM unnest(p_senders) AS s(id) ORDER BY s.id
    ON CONFLICT (tenant_id, recipient, sender_id) DO NOTHING;
  ELSE
    INSERT INTO opt_outs (tenant_id, recipient, source) VALUES (p_tenant, p_recipient, p_source) ON CONFLICT (tenant_id, recipient) DO NOTHING;
  END IF;
END $$;

-- A person asked these senders for texts again. What the tenant itself put on its list ('api') stays: it was not theirs to say.
CREATE FUNCTION app.resume_v1(p_tenant uuid, p_recipient text, p_senders uuid[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  v_covers text := app.stop_covers_v1(p_tenant);
BEGIN
  DELETE FROM sender_opt_outs AS o
  WHERE o.tenant_id = p_tenant AND o.recipient = p_recipient AND o.sender_id = ANY (p_senders) AND o.source <> 'api';
  IF v_covers = 'tenant' OR cardinality(p_senders) = 0 THEN
    DELETE FROM opt_outs AS o WHERE o.tenant_id = p_tenant AND o.recipient = p_recipient AND o.source <> 'api';
  END IF;
END $$;

-- Change the setting. From 'sender' to 'tenant', what was asked of one sender counts for all from now on. Gives how many people that concerns.
CREATE FUNCTION app.set_stop_covers_v1(p_tenant uuid, p_covers text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  v_before text;
  v_widened bigint := 0;
BEGIN
  INSERT INTO consent_settings (tenant_id, name, stop_covers) VALUES (p_tenant, 'default', 'tenant') ON CONFLICT (tenant_id, name) DO NOTHING;
  SELECT c.stop_covers INTO v_before FROM consent_settings AS c WHERE c.tenant_id = p_tenant AND c.name = 'default' FOR UPDATE;
  UPDATE consent_settings AS c SET stop_covers = p_covers, updated_at = app.now() WHERE c.tenant_id = p_tenant AND c.name = 'default';
  IF v_before = 'sender' AND p_covers = 'tenant' THEN
    INSERT INTO opt_outs (tenant_id, recipient, source, created_at)
    SELECT DISTINCT ON (o.recipient) p_tenant, o.recipient, o.source, o.created_at FROM sender_opt_outs AS o
    WHERE o.tenant_id = p_tenant ORDER BY o.recipient, o.source <> 'api', o.created_at
    ON CONFLICT (tenant_id, recipient) DO UPDATE SET source = excluded.source WHERE excluded.source = 'api' AND opt_outs.source <> 'api';
    GET DIAGNOSTICS v_widened = ROW_COUNT;
  END IF;
  RETURN v_widened;
END $$;
GRANT EXECUTE ON FUNCTION app.stop_covers_v1, app.suppress_v1, app.resume_v1, app.set_stop_covers_v1 TO {app};
