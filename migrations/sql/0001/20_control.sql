-- The schema control stands outside tenant scope: identity, routes, key hashes, schedule; no customer data.

CREATE TABLE control.tenants (
  id uuid PRIMARY KEY,
  slug text NOT NULL UNIQUE CHECK (slug ~ '^[a-z0-9](-?[a-z0-9])*$' AND length(slug) BETWEEN 2 AND 63),
  name text NOT NULL,
  timezone text NOT NULL,
  plan text NOT NULL,
  status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended', 'closed')),
  status_reason text,
  tier text,
  max_tier text,
  created_at timestamptz NOT NULL DEFAULT app.now(),
  updated_at timestamptz NOT NULL DEFAULT app.now()
);
COMMENT ON TABLE control.tenants IS 'Who is served; a row is never deleted, so a slug is never reused.';

CREATE TABLE control.api_keys (
  id uuid PRIMARY KEY,
  tenant_id uuid NOT NULL REFERENCES control.tenants (id),
  name text NOT NULL,
  key_hash bytea NOT NULL UNIQUE,
  hint text NOT NULL,
  scopes text[] NOT NULL,
  created_at timestamptz NOT NULL DEFAULT app.now(),
  revoked_at timestamptz
);
CREATE INDEX api_keys_tenant_id_idx ON control.api_keys (tenant_id, id);
COMMENT ON TABLE control.api_keys IS 'Keyed hashes of tenant keys: a key is looked up before its tenant is known.';

CREATE TABLE control.switches (
  name text NOT NULL,
  tenant_id uuid REFERENCES control.tenants (id),
  mode text NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT app.now(),
  UNIQUE NULLS NOT DISTINCT (name, tenant_id)
);
COMMENT ON TABLE control.switches IS 'Controls turned at run time; no tenant means everybody.';

CREATE TABLE control.assistant_routes (
  vapi_assistant_id text NOT NULL,
  tenant_id uuid NOT NULL REFERENCES control.tenants (id),
  PRIMARY KEY (vapi_assistant_id, tenant_id)
);
COMMENT ON TABLE control.assistant_routes IS 'Which tenants registered an assistant: one of another tenant is refused.';

CREATE TABLE control.sender_routes (
  account_sid text NOT NULL,
  sender text NOT NULL,
  tenant_id uuid NOT NULL REFERENCES control.tenants (id),
  sender_id uuid NOT NULL,
  PRIMARY KEY (account_sid, sender)
);
CREATE INDEX sender_routes_tenant_id_idx ON control.sender_routes (tenant_id);
COMMENT ON TABLE control.sender_routes IS 'One sender belongs to one tenant.';

CREATE TABLE control.arrivals (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant_id uuid NOT NULL,
  registration_id uuid NOT NULL,
  due_at timestamptz NOT NULL,
  segments integer NOT NULL
);
COMMENT ON TABLE control.arrivals IS 'Accepted messages not yet folded into the schedule: an insert that no two requests share.';

CREATE TABLE control.schedule (
  tenant_id uuid NOT NULL,
  registration_id uuid NOT NULL,
  next_at timestamptz NOT NULL,           -- when to look again
  has_work boolean NOT NULL DEFAULT true,
  paced_until timestamptz NOT NULL DEFAULT '-infinity', -- the pacer grants nothing before
  hold_reason text,                       -- suspended, sending held, credentials refused: costs no look
  held_until timestamptz,                 -- a hold that ends by itself
  picked_by uuid,                         -- a worker is looking; its claim ends at picked_until
  picked_until timestamptz NOT NULL DEFAULT '-infinity',
  queued_segments bigint NOT NULL DEFAULT 0,
  queued_messages bigint NOT NULL DEFAULT 0,
  check_at timestamptz,                   -- when a lease ends or an unknown message is asked about
  PRIMARY KEY (tenant_id, registration_id)
) WITH (fillfactor = 50);
CREATE INDEX schedule_due_idx ON control.schedule (next_at, tenant_id) WHERE has_work AND hold_reason IS NULL;
CREATE INDEX schedule_check_idx ON control.schedule (check_at) WHERE check_at IS NOT NULL;
CREATE INDEX schedule_held_idx ON control.schedule (held_until) WHERE held_until IS NOT NULL;
COMMENT ON TABLE control.schedule IS 'One row per registration with work: the dispatcher serves tenants in turn from here.';

CREATE TABLE control.duties (
  name text PRIMARY KEY,
  next_run timestamptz NOT NULL,
  holder uuid,
  lease_until timestamptz NOT NULL DEFAULT '-infinity',
  attempt bigint NOT NULL DEFAULT 0,
  last_run timestamptz,
  last_error text
);
COMMENT ON TABLE control.duties IS 'Periodic work: one holder per due time, on the database''s clock, fenced by attempt.';

CREATE TABLE control.audit (
  id uuid PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT app.now(),
  actor text NOT NULL,
  action text NOT NULL,
  tenant_id uuid,
  target text,
  detail jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX audit_tenant_id_idx ON control.audit (tenant_id, id);
COMMENT ON TABLE control.audit IS 'Who changed what; append-only, without secrets and customer data.';

CREATE TABLE control.plans (
  id uuid PRIMARY KEY,
  name text NOT NULL,
  version integer NOT NULL,
  currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  base_fee numeric NOT NULL CHECK (base_fee >= 0),
  created_at timestamptz NOT NULL DEFAULT app.now(),
  UNIQUE (name, version)
);
CREATE TABLE control.plan_prices (
  plan_id uuid NOT NULL REFERENCES control.plans (id),
  meter text NOT NULL,
  included numeric NOT NULL DEFAULT 0 CHECK (included >= 0),
  unit_price numeric NOT NULL CHECK (unit_price >= 0),
  per numeric NOT NULL DEFAULT 1 CHECK (per > 0), -- the price is for this many units
  PRIMARY KEY (plan_id, meter)
);
COMMENT ON TABLE control.plans IS 'What tenants are charged; a change is a new version, a subscription keeps its own.';
COMMENT ON TABLE control.plan_prices IS 'Included units and overage price of a plan, by meter.';

INSERT INTO control.plans (id, name, version, currency, base_fee) VALUES ('01900000-0000-7000-8000-000000000001', 'standard', 1, 'USD', 49.00);
INSERT INTO control.plan_prices (plan_id, meter, included, unit_price, per) VALUES
  ('01900000-0000-7000-8000-000000000001', 'call_seconds', 30000, 0.12, 60),
  ('01900000-0000-7000-8000-000000000001', 'sms_segments_out', 500, 0.02, 1);

GRANT SELECT, INSERT, UPDATE ON control.tenants, control.api_keys, control.duties TO {app};
GRANT SELECT, INSERT, UPDATE, DELETE ON control.switches, control.assistant_routes, control.sender_routes, control.arrivals, control.schedule TO {app};
GRANT SELECT, INSERT ON control.audit, control.plans, control.plan_prices TO {app};
