-- What idempotency that survives everything needs: runs with a lease and a fence, dead letters, tools of the tenant's own,
-- kept bodies, and calls that never reported.

-- in_flight: somebody runs it under a lease; when the lease is over it is dead, whoever held it. done, failed: the answer stands.
-- dead: it could not be handled, nothing of it stands, and it may be run again under the same key.
ALTER TABLE processed_webhooks
  DROP CONSTRAINT processed_webhooks_state_check,
  ADD CONSTRAINT processed_webhooks_state_check CHECK (state IN ('in_flight', 'done', 'failed', 'dead')),
  ADD COLUMN caller text,                       -- whom a tool reaches when it names nobody: a replay needs it
  ADD COLUMN owner uuid,                        -- with attempt the fence of whoever finishes a run
  ADD COLUMN attempt integer NOT NULL DEFAULT 0,
  ADD COLUMN lease_until timestamptz,           -- on the database's clock
  ADD COLUMN doubtful boolean NOT NULL DEFAULT false, -- an attempt may have been acted on
  ADD COLUMN business bytea,                    -- 16 bytes: the same thing asked for under another id
  ADD COLUMN reason text,                       -- why it is dead
  ADD COLUMN replay_of uuid;                    -- the webhook whose effects these are anew
CREATE INDEX processed_webhooks_business_idx ON processed_webhooks (tenant_id, business, received_at) WHERE business IS NOT NULL;
CREATE INDEX processed_webhooks_open_idx ON processed_webhooks (tenant_id, webhook_id) WHERE state IN ('in_flight', 'dead');

ALTER TABLE calls
  ADD COLUMN reported_at timestamptz,           -- when a report, or Vapi itself, told how it ended
  ADD COLUMN reported_by text CHECK (reported_by IN ('report', 'vapi', 'nobody')), -- nobody: Vapi was asked in vain and is asked no more
  ADD COLUMN looks smallint NOT NULL DEFAULT 0, -- times Vapi was asked about it
  ADD COLUMN look_at timestamptz;               -- when Vapi is asked next
UPDATE calls SET reported_at = updated_at, reported_by = 'report' WHERE state = 'ended' AND (seconds IS NOT NULL OR cost_usd IS NOT NULL);
CREATE INDEX calls_unreported_idx ON calls (tenant_id, (coalesce(look_at, updated_at))) WHERE reported_at IS NULL; -- by when each is looked at

ALTER TABLE control.tenants
  ADD COLUMN keys_hours integer NOT NULL DEFAULT 720 CHECK (keys_hours BETWEEN 72 AND 8784),
  ADD COLUMN bodies_days smallint NOT NULL DEFAULT 30 CHECK (bodies_days IN (7, 30, 90)),
  ADD COLUMN capture text NOT NULL DEFAULT 'failures' CHECK (capture IN ('failures', 'all'));

CREATE TABLE http_tools (
  tenant_id uuid NOT NULL,
  name text NOT NULL,
  url text NOT NULL,
  method text NOT NULL CHECK (method IN ('GET', 'POST', 'PUT', 'PATCH', 'DELETE')),
  timeout_ms integer NOT NULL CHECK (timeout_ms BETWEEN 100 AND 15000), -- of one attempt
  description text NOT NULL DEFAULT '',
  secret_sealed text NOT NULL,                  -- signs what we send (Standard Webhooks)
  previous_secret_sealed text,                  -- signs too, until its end
  previous_secret_until timestamptz,
  repeatable boolean NOT NULL,                  -- the endpoint honours Idempotency-Key, so that a doubtful attempt may be repeated
  business_arguments text[] NOT NULL DEFAULT '{}', -- these arguments together name one thing, under whatever id
  business_seconds integer NOT NULL DEFAULT 600 CHECK (business_seconds BETWEEN 1 AND 86400),
  created_at timestamptz NOT NULL DEFAULT app.now(),
  updated_at timestamptz NOT NULL DEFAULT app.now(),
  PRIMARY KEY (tenant_id, name)
);

CREATE TABLE vapi_accounts (
  tenant_id uuid NOT NULL,
  name text NOT NULL,                           -- 'default': a tenant has one today
  api_key_sealed text NOT NULL,                 -- the tenant's own key at Vapi
  hint text NOT NULL,                           -- its last characters
  created_at timestamptz NOT NULL DEFAULT app.now(),
  updated_at timestamptz NOT NULL DEFAULT app.now(),
  PRIMARY KEY (tenant_id, name)
);

CREATE TABLE control.call_watch (
  tenant_id uuid PRIMARY KEY,
  watched_until uuid NOT NULL
);
COMMENT ON TABLE control.call_watch IS 'Up to which webhook a tenant''s calls have been noted: calls that only a tool call spoke of are found once.';

SELECT app.wall_in(t, '{role}') FROM unnest(ARRAY['http_tools', 'vapi_accounts']::regclass[]) AS t;
GRANT SELECT, INSERT, UPDATE, DELETE ON http_tools, vapi_accounts TO {app};
GRANT SELECT, INSERT, UPDATE ON control.call_watch TO {app};
